#include "server/pipeline/store_writer.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "absl/strings/str_cat.h"
#include "server/base/status_copy.h"
#include "server/store/memory_store.h"
#include "tests/support/eventually.h"
#include "tests/support/hooked_store.h"
#include "tests/support/job_builder.h"
#include "tests/support/metric_reader.h"

namespace jobpool {
namespace {

std::shared_ptr<const JobRecord> Share(JobRecord record) {
  return std::make_shared<const JobRecord>(std::move(record));
}

EndedJob EndOf(JobRecord record) {
  record.End(JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(1)));
  return Share(std::move(record));
}

// Counts commits, refuses them when told to, and lets a test hold one up.
class ScriptedStore final : public JobStore {
 public:
  absl::Status Commit(absl::Span<const JobWrite> writes) override {
    ++commits;
    if (on_commit) on_commit();
    if (refuse) return absl::UnavailableError("disk is full");
    for (const JobWrite& write : writes) {
      if (write.job->id == "taken") return absl::AlreadyExistsError("there is another");
    }
    last_size = writes.size();
    return kept.Commit(writes);
  }
  absl::Status CheckWritable() override {
    ++looks;
    return refuse ? absl::UnavailableError("disk is full") : absl::OkStatus();
  }
  absl::StatusOr<EndedJob> Get(const std::string& id) const override { return kept.Get(id); }
  absl::StatusOr<StoredPage> List(const JobQuery& query) const override { return kept.List(query); }
  absl::StatusOr<bool> Delete(const std::string& id) override {
    if (on_delete) on_delete();
    return kept.Delete(id);
  }
  absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) override {
    return kept.DeleteExpired(now, limit);
  }
  size_t CountLive() const override { return kept.CountLive(); }
  absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit) const override {
    return kept.ListLive(after, limit);
  }
  absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after,
                                                        size_t limit) const override {
    return kept.ListRequests(after, limit);
  }
  absl::StatusOr<uint64_t> LastNumber() const override { return kept.LastNumber(); }

  std::function<void()> on_commit;  // set before anything is written
  std::function<void()> on_delete;
  int64_t UsedBytes() const override { return used_bytes; }
  std::atomic<int64_t> used_bytes{0};
  std::atomic<bool> refuse{false};
  std::atomic<int> commits{0};
  std::atomic<int> looks{0};
  std::atomic<size_t> last_size{0};  // of the commits that it took
  MemoryStore kept{1000};
};

class StoreWriterTest : public ::testing::Test {
 protected:
  StoreWriter& writer() {
    if (writer_ == nullptr) writer_ = std::make_unique<StoreWriter>(store_, threads_, metrics_);
    return *writer_;
  }

  /// What Flush says.
  absl::Status Flush() {
    Gate flushed;
    absl::Status status;
    writer().Flush([&](const absl::Status& kept) {
      status = CopyForThread(kept);
      flushed.Open();
    });
    flushed.Await();
    return status;
  }

  void Create(const std::vector<JobRecord>& records, StoreWriter::Done done = nullptr) {
    std::vector<JobWrite> writes;
    for (const JobRecord& record : records) writes.push_back({Share(record)});
    if (done == nullptr) done = [](const absl::Status& status) { EXPECT_TRUE(status.ok()) << status; };
    writer().Create(std::move(writes), std::move(done));
  }

  std::vector<std::string> Live() {
    std::vector<std::string> ids;
    const absl::StatusOr<std::vector<JobRecord>> live = store_.ListLive(0, 1000);
    for (const JobRecord& record : *live) ids.push_back(record.id);
    return ids;
  }

  /// Creates a job, and returns while it is committed, which lasts until go_on_ is open.
  void HoldUpACommit() {
    store_.on_commit = [this] {
      begun_.Open();
      go_on_.Await();
    };
    Create({MakeRecord("first")});
    begun_.Await();
  }

  Gate begun_;
  Gate go_on_;
  ThreadRegistry threads_;
  prometheus::Registry registry_;
  StoreMetrics metrics_{registry_};
  ScriptedStore store_;
  std::unique_ptr<StoreWriter> writer_;
};

using Strings = std::vector<std::string>;

TEST_F(StoreWriterTest, WhatIsFlushedIsKept) {
  Create({MakeRecord("a")});
  EXPECT_TRUE(Flush().ok());
  EXPECT_EQ(Live(), Strings{"a"});
}

TEST_F(StoreWriterTest, WhatComesDuringACommitSharesTheNext) {
  HoldUpACommit();
  Strings ids = {"first"};
  for (int i = 0; i < 100; ++i) {
    ids.push_back(absl::StrCat("j", i));
    Create({MakeRecord(ids.back())});
  }
  go_on_.Open();
  EXPECT_TRUE(Flush().ok());
  EXPECT_EQ(store_.commits, 2);
  EXPECT_EQ(Live(), ids);
  EXPECT_EQ(SumOfSeries(registry_, "jobpool_store_commit_size_jobs"), 2);
}

TEST_F(StoreWriterTest, AnEndIsToldWhenItIsKept) {
  const JobRecord job = MakeRecord("a");
  Create({job});
  Gate told;
  writer().End(EndOf(job), [&](const absl::Status& kept) {
    EXPECT_TRUE(kept.ok());
    EXPECT_NE(*store_.Get("a"), nullptr);
    told.Open();
  });
  told.Await();
  EXPECT_TRUE(Live().empty());
}

TEST_F(StoreWriterTest, CallsBackInOrder) {
  std::vector<int> order;  // of one thread
  for (int i = 0; i < 100; ++i) {
    const JobRecord job = MakeRecord(absl::StrCat("j", i));
    Create({job});
    writer().End(EndOf(job), [&order, i](const absl::Status&) { order.push_back(i); });
  }
  EXPECT_TRUE(Flush().ok());
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST_F(StoreWriterTest, ARefusedJobIsForgottenWithAllThatFollowsOfIt) {
  const JobRecord job = MakeRecord("a");
  const JobRecord other = MakeRecord("b");
  Gate refused;
  Gate ended;
  store_.refuse = true;
  Create({job, other}, [&](const absl::Status& status) {
    EXPECT_TRUE(absl::IsUnavailable(status));
    refused.Open();
  });
  refused.Await();
  EXPECT_FALSE(writer().health().ok());
  writer().Change(Share(job));
  writer().End(EndOf(job), [&](const absl::Status& kept) {
    EXPECT_FALSE(kept.ok());
    ended.Open();
  });
  ended.Await();
  store_.refuse = false;
  EXPECT_TRUE(Eventually([&] { return writer().health().ok(); }));
  EXPECT_TRUE(Flush().ok());
  EXPECT_TRUE(Live().empty());
  EXPECT_EQ(*store_.Get("a"), nullptr);
}

TEST_F(StoreWriterTest, WhatHappensToAKeptJobIsTriedUntilItIsKept) {
  const JobRecord job = MakeRecord("a");
  const JobRecord runs = MakeRecord("b");
  Create({job, runs});
  EXPECT_TRUE(Flush().ok());
  store_.refuse = true;
  JobRecord changed = runs;
  changed.Start(Attempt());
  std::atomic<bool> ended{false};
  writer().Change(Share(changed));
  writer().End(EndOf(job), [&](const absl::Status& kept) {
    EXPECT_TRUE(kept.ok());
    ended = true;
  });
  EXPECT_TRUE(absl::IsUnavailable(Flush()));
  EXPECT_TRUE(Eventually([&] { return store_.commits > 3; }));
  EXPECT_FALSE(ended);
  store_.refuse = false;
  EXPECT_TRUE(Eventually([&] { return ended.load(); }));
  EXPECT_TRUE(Flush().ok());
  EXPECT_EQ(store_.ListLive(0, 10)->front().state, JobState::kRunning);
  EXPECT_NE(*store_.Get("a"), nullptr);
  EXPECT_GE(SumOfSeries(registry_, "jobpool_store_failures_total"), 3);
}

TEST_F(StoreWriterTest, AStoreThatRefusesIsAskedAgain) {
  std::vector<bool> told;  // of the thread that commits
  Gate well;
  writer().set_on_health([&] {
    told.push_back(writer().health().ok());
    if (told.back()) well.Open();
  });
  store_.refuse = true;
  Create({MakeRecord("a")}, [](const absl::Status&) {});
  EXPECT_TRUE(Eventually([&] { return store_.looks > 1; }));
  EXPECT_EQ(SumOfSeries(registry_, "jobpool_store_writable"), 0);
  store_.refuse = false;
  well.Await();
  EXPECT_EQ(told, (std::vector<bool>{false, true}));
  EXPECT_EQ(SumOfSeries(registry_, "jobpool_store_writable"), 1);
}

TEST_F(StoreWriterTest, ANewJobIsToldWhenItIsKept) {
  Gate told;
  Create({MakeRecord("a")}, [&](const absl::Status& kept) {
    EXPECT_TRUE(kept.ok());
    EXPECT_EQ(Live(), Strings{"a"});
    told.Open();
  });
  EXPECT_TRUE(told.Await());
}

class OneAtFaultTest : public StoreWriterTest, public ::testing::WithParamInterface<size_t> {};

TEST_P(OneAtFaultTest, IsRefusedAlone) {
  HoldUpACommit();
  Strings ids = {"first"};
  std::atomic<int> refused{0};
  for (size_t i = 0; i < 100; ++i) {
    if (i == GetParam()) {
      Create({MakeRecord("other"), MakeRecord("taken")}, [&](const absl::Status& status) {
        EXPECT_TRUE(absl::IsAlreadyExists(status));
        ++refused;
      });
    } else {
      ids.push_back(absl::StrCat("j", i));
      Create({MakeRecord(ids.back())});
    }
  }
  go_on_.Open();
  EXPECT_TRUE(Flush().ok());
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(Live(), ids);
  EXPECT_TRUE(writer().health().ok());
}

INSTANTIATE_TEST_SUITE_P(Places, OneAtFaultTest, ::testing::Values(0, 1, 37, 98, 99));

TEST_F(StoreWriterTest, OfTheChangesThatWaitTheLastSaysItAll) {
  JobRecord job = MakeRecord("a");
  const JobRecord other = MakeRecord("b");
  Create({job, other});
  EXPECT_TRUE(Flush().ok());
  store_.refuse = true;
  for (int i = 0; i < 500; ++i) {
    job.priority = static_cast<uint8_t>(i % 10);
    ++job.revision;
    writer().Change(Share(job));
    if (i == 250) {
      writer().Change(Share(other));
      EXPECT_FALSE(Flush().ok());
    }
  }
  Gate ended;
  writer().End(EndOf(other), [&](const absl::Status&) { ended.Open(); });
  EXPECT_FALSE(Flush().ok());
  store_.refuse = false;
  EXPECT_TRUE(ended.Await());
  EXPECT_EQ(store_.last_size, 2u);
  ASSERT_EQ(Live(), Strings{"a"});
  EXPECT_EQ(store_.ListLive(0, 10)->front().revision, job.revision);
  EXPECT_NE(*store_.Get("b"), nullptr);
}

TEST_F(StoreWriterTest, ACommitThatHangsIsSeen) {
  writer_ = std::make_unique<StoreWriter>(store_, threads_, metrics_, absl::ZeroDuration());
  Gate begun;
  Gate go_on;
  store_.on_commit = [&] {
    begun.Open();
    go_on.Await();
  };
  writer().CheckHealth();
  EXPECT_TRUE(writer().health().ok());
  Create({MakeRecord("a")});
  begun.Await();
  writer().CheckHealth();
  EXPECT_TRUE(absl::IsUnavailable(writer().health()));
  go_on.Open();
  EXPECT_TRUE(Eventually([&] { return writer().health().ok(); }));
  EXPECT_EQ(Live(), Strings{"a"});
}

TEST_F(StoreWriterTest, DeletesBetweenCommits) {
  const JobRecord job = MakeRecord("a");
  Create({job});
  writer().End(EndOf(job), [](const absl::Status&) {});
  EXPECT_TRUE(Flush().ok());
  Gate begun;
  Gate go_on;
  store_.on_delete = [&] {
    begun.Open();
    go_on.Await();
  };
  std::vector<absl::StatusOr<bool>> told;  // of one thread
  Gate both;
  for (int i = 0; i < 2; ++i) {
    writer().Delete("a", [&](const absl::StatusOr<bool>& deleted) {
      told.push_back(deleted);
      if (told.size() == 2) both.Open();
    });
  }
  begun.Await();  // it is not this thread that waits for the disk
  go_on.Open();
  ASSERT_TRUE(both.Await());
  EXPECT_TRUE(*told[0]);
  EXPECT_FALSE(*told[1]);
  EXPECT_EQ(*store_.Get("a"), nullptr);
}

TEST_F(StoreWriterTest, AStoreThatRefusesDeletesNothing) {
  const JobRecord job = MakeRecord("a");
  Create({job});
  writer().End(EndOf(job), [](const absl::Status&) {});
  EXPECT_TRUE(Flush().ok());
  store_.refuse = true;
  Create({MakeRecord("b")}, [](const absl::Status&) {});
  EXPECT_FALSE(Flush().ok());
  Gate told;
  writer().Delete("a", [&](const absl::StatusOr<bool>& deleted) {
    EXPECT_TRUE(absl::IsUnavailable(deleted.status()));
    told.Open();
  });
  ASSERT_TRUE(told.Await());
  EXPECT_NE(*store_.Get("a"), nullptr);
}

TEST_F(StoreWriterTest, IsFullAtItsBound) {
  EXPECT_TRUE(writer().CheckFull().ok());
  writer().set_max_bytes(1000);
  store_.used_bytes = 999;
  EXPECT_TRUE(writer().CheckFull().ok());
  store_.used_bytes = 1000;
  EXPECT_TRUE(absl::IsResourceExhausted(writer().CheckFull()));
}

TEST_F(StoreWriterTest, StopKeepsWhatWasWritten) {
  Create({MakeRecord("a")});
  std::atomic<bool> flushed{false};
  writer().Flush([&](const absl::Status& kept) { flushed = kept.ok(); });
  writer().Stop();
  EXPECT_TRUE(flushed);
  EXPECT_EQ(Live(), Strings{"a"});
}

TEST_F(StoreWriterTest, StopDoesNotWaitForAStoreThatRefuses) {
  const JobRecord job = MakeRecord("a");
  Create({job});
  EXPECT_TRUE(Flush().ok());
  store_.refuse = true;
  writer().End(EndOf(job), [](const absl::Status& kept) { ADD_FAILURE() << kept; });
  std::atomic<bool> flushed{true};
  writer().Flush([&](const absl::Status& kept) { flushed = kept.ok(); });
  writer().Stop();
  EXPECT_FALSE(flushed);
}

}  // namespace
}  // namespace jobpool
