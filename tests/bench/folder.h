#pragma once

#include <filesystem>
#include <string>

namespace jobpool::bench {

/// A folder that is made empty, and is there as long as this.
class Folder {
 public:
  explicit Folder(const std::string& path) : path_(path) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

}  // namespace jobpool::bench
