#pragma once

#include <memory>
#include <string>

#include <spdlog/formatter.h>

#include "absl/strings/string_view.h"

namespace jobpool {

/// A log line as one JSON object (RFC 8259): `time` (RFC 3339, UTC, milliseconds),
/// `level`, `message`.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override;
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

/// `text` as it stands between the quotes of a JSON string; bytes that are no UTF-8
/// become U+FFFD.
std::string EscapeJson(absl::string_view text);

}  // namespace jobpool
