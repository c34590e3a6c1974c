#pragma once

#include <initializer_list>
#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/field_mask.pb.h"
#include "server/job/validation.h"

namespace jobpool {

/// The update mask of a request (AIP-134): left out, or empty, it means the
/// fields that are set; `*` means all that can be changed.
class FieldMask {
 public:
  /// Adds a violation of `update_mask` for each path that is not one of
  /// `changeable`.
  FieldMask(bool given, const google::protobuf::FieldMask& mask,
            std::initializer_list<absl::string_view> changeable, Violations& violations);

  /// Whether `field` shall be changed; `is_set`: whether the request sets it.
  bool Has(absl::string_view field, bool is_set) const;

 private:
  bool given_;
  bool all_ = false;
  std::set<std::string> paths_;
};

}  // namespace jobpool
