#pragma once

#include <string>
#include <vector>

namespace jobpool {

/// `texts` as execve(2) takes them; valid as long as they are, and are not changed.
inline std::vector<char*> ExecPointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace jobpool
