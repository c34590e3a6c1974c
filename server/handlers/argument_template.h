#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace jobpool {

/// One argument of a program, with places for values that callers give. Constant after
/// construction.
class ArgumentTemplate {
 public:
  /// `text`: `{NAME}` is the place of a value, `{{` a brace, all else itself.
  /// INVALID_ARGUMENT: a brace is left open, what it holds is no name of a parameter, or
  /// there is a NUL.
  static absl::StatusOr<ArgumentTemplate> Parse(absl::string_view text);

  /// The names of the values that it needs, in their order.
  std::vector<std::string> Names() const;

  /// REQUIRES: `values` has all of Names().
  std::string Fill(const std::map<std::string, std::string>& values) const;

 private:
  struct Piece {
    bool is_name = false;
    std::string text;
  };

  std::vector<Piece> pieces_;
};

}  // namespace jobpool
