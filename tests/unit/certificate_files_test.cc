#include "server/tls/certificate_files.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/tls/server_context.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_authority.h"

namespace jobpool {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const TestAuthority& Root() {
  static const TestAuthority root("root");
  return root;
}

class CertificateFilesTest : public ::testing::Test {
 protected:
  CertificateFilesTest() { Put(Root().Issue("first")); }

  void Put(const TestCertificate& certificate) {
    dir_.Write("chain.pem", certificate.pem);
    dir_.Write("key.pem", certificate.pem_key);
  }

  // What Load says of the files as they are.
  std::string Fault() {
    CertificateFiles files(paths_);
    const absl::Status status = files.Load();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(files.Current(), nullptr);
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
    return std::string(status.message());
  }

  const TempDir dir_;
  CertificatePaths paths_{dir_.Path("chain.pem"), dir_.Path("key.pem"), ""};
};

TEST_F(CertificateFilesTest, LoadsAnIdentity) {
  const absl::Time not_before = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now() - absl::Hours(2)));
  const absl::Time not_after = not_before + absl::Hours(50);
  const TestCertificate certificate = Root().Issue("x", not_before, not_after);
  Put(certificate);
  paths_.client_ca = dir_.Write("ca.pem", Root().pem());
  CertificateFiles files(paths_);
  EXPECT_EQ(files.Current(), nullptr);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  const auto identity = files.Current();
  EXPECT_EQ(identity->pem_chain, certificate.pem);
  EXPECT_EQ(identity->pem_key, certificate.pem_key);
  EXPECT_EQ(identity->pem_client_ca, Root().pem());
  EXPECT_EQ(identity->not_before, not_before);
  EXPECT_EQ(identity->not_after, not_after);
  EXPECT_EQ(identity->version, 1u);
}

TEST_F(CertificateFilesTest, ACertificateOutOfItsTimeIsOnlyAFaultToAskAbout) {
  FakeClock clock;
  Put(Root().Issue("x", clock.Now() + absl::Seconds(1), clock.Now() + absl::Hours(1)));
  CertificateFiles files(paths_, clock);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  EXPECT_THAT(files.TimeFault(), AllOf(StartsWith(paths_.chain), HasSubstr("not valid before")));
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(files.TimeFault(), "");
  clock.Advance(absl::Hours(1) - absl::Seconds(1));
  EXPECT_EQ(files.TimeFault(), "");
  clock.Advance(absl::Seconds(1));
  EXPECT_THAT(files.TimeFault(), AllOf(StartsWith(paths_.chain), HasSubstr("expired")));
}

TEST_F(CertificateFilesTest, NamesAFileThatCannotBeRead) {
  for (std::string* path : {&paths_.chain, &paths_.key, &paths_.client_ca}) {
    const std::string good = *path;
    *path = dir_.Path("nowhere");
    EXPECT_EQ(Fault(), *path + ": No such file or directory");
    *path = dir_.Path("");
    EXPECT_THAT(Fault(), AllOf(StartsWith(*path), HasSubstr("not a regular file")));
    *path = dir_.Path("pipe");  // nobody writes into it: must not be waited for
    mkfifo(path->c_str(), 0600);
    EXPECT_THAT(Fault(), AllOf(StartsWith(*path), HasSubstr("not a regular file")));
    std::filesystem::remove(*path);
    *path = good;
  }
}

TEST_F(CertificateFilesTest, NamesAFileThatHoldsSomethingElse) {
  paths_.client_ca = dir_.Write("ca.pem", Root().pem());
  const std::string key = Root().Issue("x").pem_key;
  for (const std::string& path : {paths_.chain, paths_.client_ca}) {
    const std::string name = std::filesystem::path(path).filename();
    for (const std::string& content : {std::string(), std::string("text\n"), key, std::string(1000, '\0')}) {
      dir_.Write(name, content);
      EXPECT_EQ(Fault(), path + ": holds no certificate in PEM form");
    }
    for (const std::string& damaged :
         {std::string("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
          std::string("-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n"),
          Root().pem().substr(0, 200)}) {
      dir_.Write(name, damaged);
      EXPECT_THAT(Fault(), StartsWith(path + ": certificate 1 is damaged: "));
      dir_.Write(name, Root().pem() + damaged);
      EXPECT_THAT(Fault(), StartsWith(path + ": certificate 2 is damaged: "));
    }
    Put(Root().Issue("first"));
  }
  for (const std::string& content :
       {std::string(), std::string("text\n"), Root().pem(), key.substr(0, 100),
        std::string("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}) {
    dir_.Write("key.pem", content);
    EXPECT_EQ(Fault(), paths_.key + ": holds no intact private key in PEM form");
  }
}

TEST_F(CertificateFilesTest, AFileHoldsAtMostOneMebibyte) {
  const TestCertificate certificate = Root().Issue("x");
  Put(certificate);
  for (const char* name : {"chain.pem", "key.pem"}) {
    const std::string& content = name[0] == 'c' ? certificate.pem : certificate.pem_key;
    dir_.Write(name, content + std::string((1 << 20) - content.size(), '\n'));
    EXPECT_EQ(CertificateFiles(paths_).Load(), absl::OkStatus());
    dir_.Write(name, content + std::string((1 << 20) - content.size() + 1, '\n'));
    EXPECT_EQ(Fault(), dir_.Path(name) + ": is larger than 1 MiB");
    dir_.Write(name, content);
  }
}

TEST_F(CertificateFilesTest, RefusesTheKeyOfAnotherCertificate) {
  dir_.Write("key.pem", Root().Issue("other").pem_key);
  EXPECT_EQ(Fault(), paths_.key + ": is not the private key of the certificate in " + paths_.chain);
}

TEST_F(CertificateFilesTest, RefusesAProtectedKeyWithoutAskingForItsPassword) {
  const PrivateKeyPtr key(EVP_EC_gen("P-256"));
  dir_.Write("chain.pem", Root().IssueFor(key.get(), "x").pem);
  dir_.Write("key.pem", KeyToPem(key.get(), "secret"));
  EXPECT_EQ(Fault(), paths_.key + ": the private key is protected by a password; give one without");
}

TEST_F(CertificateFilesTest, RefusesWhatOpensslWouldNotServe) {
  const PrivateKeyPtr key(EVP_RSA_gen(512));
  const TestCertificate weak = Root().IssueFor(key.get(), "weak");
  Put(weak);
  EXPECT_THAT(Fault(), AllOf(StartsWith(paths_.chain), HasSubstr("ee key too small")));
}

TEST_F(CertificateFilesTest, AChainIsInOrder) {
  const TestAuthority middle("middle", &Root());
  const TestCertificate leaf = middle.Issue("leaf");
  const std::string chain = leaf.pem + middle.pem() + Root().pem();
  dir_.Write("key.pem", leaf.pem_key);
  for (const std::string& good : {leaf.pem, leaf.pem + middle.pem(), chain, "text\n" + chain + "text\n"}) {
    dir_.Write("chain.pem", good);
    EXPECT_EQ(CertificateFiles(paths_).Load(), absl::OkStatus());
  }
  dir_.Write("chain.pem", leaf.pem + Root().pem() + middle.pem());
  EXPECT_EQ(Fault(), paths_.chain + ": certificate 2 did not issue certificate 1");
  dir_.Write("chain.pem", leaf.pem + middle.pem() + middle.pem());
  EXPECT_EQ(Fault(), paths_.chain + ": certificate 3 did not issue certificate 2");
  // The same name, and another key.
  dir_.Write("chain.pem", leaf.pem + TestAuthority("middle", &Root()).pem());
  EXPECT_EQ(Fault(), paths_.chain + ": certificate 2 did not issue certificate 1");
}

TEST_F(CertificateFilesTest, ReloadTellsWhatChanged) {
  paths_.client_ca = dir_.Write("ca.pem", Root().pem());
  CertificateFiles files(paths_);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  const auto first = files.Current();
  EXPECT_FALSE(*files.Reload());
  EXPECT_EQ(files.Current(), first);

  const TestCertificate second = Root().Issue("second");
  Put(second);
  EXPECT_TRUE(*files.Reload());
  EXPECT_EQ(files.Current()->pem_chain, second.pem);
  EXPECT_EQ(files.Current()->version, 2u);
  EXPECT_FALSE(*files.Reload());

  dir_.Write("ca.pem", TestAuthority("other").pem());
  EXPECT_TRUE(*files.Reload());
  EXPECT_EQ(files.Current()->version, 3u);

  Put(second);  // written anew, and the same
  EXPECT_FALSE(*files.Reload());
  EXPECT_EQ(files.Current()->version, 3u);
  EXPECT_EQ(first->version, 1u);  // who holds it still has it
}

TEST_F(CertificateFilesTest, AFaultyChangeLeavesTheIdentity) {
  CertificateFiles files(paths_);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  const auto first = files.Current();
  const TestCertificate second = Root().Issue("second");
  dir_.Write("chain.pem", second.pem);  // and not yet the key
  for (int i = 0; i < 3; ++i) {         // also when nothing has changed since
    const auto changed = files.Reload();
    ASSERT_FALSE(changed.ok());
    EXPECT_THAT(std::string(changed.status().message()), HasSubstr("is not the private key"));
    EXPECT_EQ(files.Current(), first);
  }
  dir_.Write("key.pem", second.pem_key);
  EXPECT_TRUE(*files.Reload());
  EXPECT_EQ(files.Current()->version, 2u);
  std::filesystem::remove(paths_.key);
  EXPECT_FALSE(files.Reload().ok());
  EXPECT_EQ(files.Current()->version, 2u);
  dir_.Write("key.pem", second.pem_key);
  EXPECT_FALSE(*files.Reload());  // as before the fault
}

// How much this thread has read so far, in bytes.
int64_t BytesRead() {
  std::ifstream io("/proc/thread-self/io");
  std::string name;
  int64_t count = -1;
  io >> name >> count;
  EXPECT_EQ(name, "rchar:");
  return count;
}

// Files that were written long ago.
class SettledCertificateFilesTest : public CertificateFilesTest {
 protected:
  SettledCertificateFilesTest() { clock_.Advance(absl::Now() - clock_.Now() + absl::Hours(1)); }

  FakeClock clock_;
};

TEST_F(SettledCertificateFilesTest, AreNotReadAgainWhileTheyStayAsTheyAre) {
  const TestCertificate certificate = Root().Issue("x");
  Put({certificate.pem + std::string(100'000, '\n'), certificate.pem_key});
  CertificateFiles files(paths_, clock_);
  int64_t before = BytesRead();
  ASSERT_EQ(files.Load(), absl::OkStatus());
  EXPECT_GT(BytesRead() - before, 100'000);
  before = BytesRead();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(*files.Reload());
  EXPECT_LT(BytesRead() - before, 10'000);  // what it takes to know
  Put(Root().Issue("y"));
  EXPECT_TRUE(*files.Reload());
}

TEST_F(SettledCertificateFilesTest, TellTheSameFaultAgain) {
  CertificateFiles files(paths_, clock_);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  dir_.Write("key.pem", "text");
  const absl::Status fault = files.Reload().status();
  EXPECT_FALSE(fault.ok());
  EXPECT_EQ(files.Reload().status(), fault);
  EXPECT_EQ(files.Reload().status(), fault);
  std::filesystem::remove(paths_.key);
  EXPECT_THAT(std::string(files.Reload().status().message()), HasSubstr("No such file"));
  dir_.Write("key.pem", files.Current()->pem_key);
  EXPECT_FALSE(*files.Reload());
}

// Within a tick of the kernel's clock nothing tells two writes apart.
TEST_F(CertificateFilesTest, AreReadAgainWhenTheyAreYoung) {
  const TestCertificate certificate = Root().Issue("x");
  Put({certificate.pem + std::string(100'000, '\n'), certificate.pem_key});
  CertificateFiles files(paths_);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  const int64_t before = BytesRead();
  EXPECT_FALSE(*files.Reload());
  EXPECT_GT(BytesRead() - before, 100'000);
}

// Of the same size, and of the same age in everything that a copy can set.
TEST_F(SettledCertificateFilesTest, SeeAChangeThatKeepsSizeAndTime) {
  CertificateFiles files(paths_, clock_);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  const auto written = std::filesystem::last_write_time(paths_.chain);
  TestCertificate other = Root().Issue("other");
  while (other.pem.size() != files.Current()->pem_chain.size() ||
         other.pem_key.size() != files.Current()->pem_key.size()) {
    other = Root().Issue("other");
  }
  Put(other);
  std::filesystem::last_write_time(paths_.chain, written);
  std::filesystem::last_write_time(paths_.key, written);
  EXPECT_TRUE(*files.Reload());
}

// As a mounted secret is replaced: the path is a link, and another folder is put behind it.
TEST_F(SettledCertificateFilesTest, FollowALinkThatIsExchanged) {
  for (const char* folder : {"a", "b"}) {
    std::filesystem::create_directory(dir_.Path(folder));
    const TestCertificate certificate = Root().Issue(folder);
    dir_.Write(std::string(folder) + "/chain.pem", certificate.pem);
    dir_.Write(std::string(folder) + "/key.pem", certificate.pem_key);
  }
  std::filesystem::create_directory_symlink("a", dir_.Path("now"));
  CertificateFiles files({dir_.Path("now/chain.pem"), dir_.Path("now/key.pem"), ""}, clock_);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  std::filesystem::create_directory_symlink("b", dir_.Path("next"));
  std::filesystem::rename(dir_.Path("next"), dir_.Path("now"));
  EXPECT_TRUE(*files.Reload());
}

TEST_F(CertificateFilesTest, ReadersSeeWholeIdentitiesWhileItReloads) {
  CertificateFiles files(paths_);
  ASSERT_EQ(files.Load(), absl::OkStatus());
  const std::vector<TestCertificate> certificates = {Root().Issue("a"), Root().Issue("b")};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      uint64_t last = 0;
      while (!done) {
        const auto identity = files.Current();
        ASSERT_GE(identity->version, last);
        last = identity->version;
        ASSERT_TRUE(NewServerContext(*identity).ok());
      }
    });
    threads.emplace_back([&] {
      while (!done) files.Reload().IgnoreError();
    });
  }
  for (int i = 0; i < 10; ++i) {
    Put(certificates[static_cast<size_t>(i) % 2]);
    const uint64_t before = files.Current()->version;
    files.Reload().IgnoreError();
    EXPECT_GE(files.Current()->version, before);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(files.Current()->pem_chain, certificates[1].pem);
}

}  // namespace
}  // namespace jobpool
