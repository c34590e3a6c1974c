#include "server/process/remove_folder.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

constexpr uid_t kNobody = 65534;

// Whether it says that nothing is left, as somebody whom rights keep out.
bool RemovedByNobody(const std::string& folder) {
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);
    _exit(RemoveFolder(folder) ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool Exists(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

class RemoveFolderTest : public testing::Test {
 protected:
  RemoveFolderTest() {
    chmod(outside_.Path("").c_str(), 0777);
    Make(folder_);
  }

  void Make(const std::string& folder) const {
    ASSERT_EQ(mkdir(folder.c_str(), 0700), 0) << folder;
    if (geteuid() == 0) {
      ASSERT_EQ(chown(folder.c_str(), kNobody, kNobody), 0);
    }
  }

  const TempDir outside_;
  const std::string folder_ = outside_.Path("folder");
};

TEST_F(RemoveFolderTest, WhatIsClosedToItsOwnerGoesToo) {
  Make(folder_ + "/a");
  Make(folder_ + "/a/b");
  Make(folder_ + "/a/b/c");
  std::ofstream(folder_ + "/a/b/c/file") << "x";
  for (const char* closed : {"/a/b/c", "/a/b", "/a", ""}) chmod((folder_ + closed).c_str(), 0);
  EXPECT_TRUE(RemovedByNobody(folder_));
  EXPECT_FALSE(Exists(folder_));
}

TEST_F(RemoveFolderTest, LinksAreNotFollowed) {
  const std::string kept = outside_.Path("kept");
  Make(kept);
  std::ofstream(kept + "/file") << "x";
  chmod(kept.c_str(), 0500);
  ASSERT_EQ(symlink(kept.c_str(), (folder_ + "/link").c_str()), 0);
  Make(folder_ + "/a");
  ASSERT_EQ(symlink(kept.c_str(), (folder_ + "/a/link").c_str()), 0);
  EXPECT_TRUE(RemovedByNobody(folder_));
  EXPECT_TRUE(Exists(kept + "/file"));
  struct stat info {};
  ASSERT_EQ(stat(kept.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0500u);
  chmod(kept.c_str(), 0700);
}

TEST_F(RemoveFolderTest, HoweverDeepItIs) {
  int at = open(folder_.c_str(), O_RDONLY | O_DIRECTORY);
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_EQ(mkdirat(at, "inner", 0700), 0) << depth;
    const int inner = openat(at, "inner", O_RDONLY | O_DIRECTORY);
    if (geteuid() == 0) {
      ASSERT_EQ(fchown(inner, kNobody, kNobody), 0);
    }
    close(at);
    at = inner;
  }
  close(at);
  EXPECT_TRUE(RemovedByNobody(folder_));
  EXPECT_FALSE(Exists(folder_));
}

TEST_F(RemoveFolderTest, WhatIsNotThereIsNotRemoved) {
  EXPECT_FALSE(RemoveFolder(outside_.Path("none")));
  EXPECT_TRUE(RemoveFolder(folder_));
}

}  // namespace
}  // namespace jobpool
