#include "server/service/field_mask.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace jobpool {

FieldMask::FieldMask(bool given, const google::protobuf::FieldMask& mask,
                     std::initializer_list<absl::string_view> changeable, Violations& violations)
    : given_(given && mask.paths_size() > 0) {
  for (const std::string& path : mask.paths()) {
    if (path == "*") {
      all_ = true;
    } else if (std::find(changeable.begin(), changeable.end(), path) != changeable.end()) {
      paths_.insert(path);
    } else {
      violations.Add("update_mask", absl::StrCat("can only name ", absl::StrJoin(changeable, ", "), " or *"));
    }
  }
}

bool FieldMask::Has(absl::string_view field, bool is_set) const {
  if (!given_) return is_set;
  return all_ || paths_.count(std::string(field)) > 0;
}

}  // namespace jobpool
