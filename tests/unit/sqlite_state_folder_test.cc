#include <cerrno>
#include <filesystem>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/store/state_folder.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

std::string PathOf(int descriptor) {
  return std::filesystem::read_symlink(absl::StrCat("/proc/self/fd/", descriptor)).string();
}

class StateFolderTest : public ::testing::Test {
 protected:
  absl::Status Make(const std::string& path) {
    return MakeStateFolder(path, [this](int descriptor) {
      synchronized_.push_back(PathOf(descriptor));
      return 0;
    });
  }

  const TempDir dir_;
  std::vector<std::string> synchronized_;
};

TEST_F(StateFolderTest, EachNewFolderIsSynchronizedInTheOneAbove) {
  const absl::Status made = Make(dir_.Path("a/b/c/"));
  ASSERT_TRUE(made.ok()) << made;
  EXPECT_EQ(synchronized_,
            (std::vector<std::string>{std::filesystem::path(dir_.Path("a")).parent_path().string(),
                                      dir_.Path("a"), dir_.Path("a/b")}));
  for (const char* folder : {"a", "a/b", "a/b/c"}) {
    struct stat status {};
    ASSERT_EQ(stat(dir_.Path(folder).c_str(), &status), 0);
    EXPECT_TRUE(S_ISDIR(status.st_mode));
    EXPECT_EQ(status.st_mode & 0777, 0700u) << folder;
  }
  synchronized_.clear();
  EXPECT_TRUE(Make(dir_.Path("a/b/c")).ok());
  EXPECT_TRUE(synchronized_.empty());
}

TEST_F(StateFolderTest, WhatCannotBeSynchronizedIsNotLeft) {
  const absl::Status made = MakeStateFolder(dir_.Path("a/b"), [](int) {
    errno = EIO;
    return -1;
  });
  EXPECT_EQ(made.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(made.message(), "Input/output error")) << made;
  EXPECT_FALSE(std::filesystem::exists(dir_.Path("a")));
}

TEST_F(StateFolderTest, AFileInTheWayIsAnError) {
  const std::string file = dir_.Write("file", "");
  const absl::Status made = Make(file + "/state");
  EXPECT_EQ(made.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(made.message(), absl::StrCat("cannot make the folder ", file, ": File exists"));
}

}  // namespace
}  // namespace jobpool
