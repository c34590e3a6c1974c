#include "server/telemetry/json_formatter.h"

#include <gtest/gtest.h>
#include <spdlog/details/log_msg.h>

namespace jobpool {
namespace {

TEST(JsonFormatterTest, EscapesWhatJsonCannotHold) {
  EXPECT_EQ(EscapeJson("job ended kind=noop"), "job ended kind=noop");
  EXPECT_EQ(EscapeJson("a\"b\\c\n\t\x01"), "a\\\"b\\\\c\\u000a\\u0009\\u0001");
  EXPECT_EQ(EscapeJson(absl::string_view("\0", 1)), "\\u0000");
  EXPECT_EQ(EscapeJson("é 漢 🎉"), "é 漢 🎉");
}

TEST(JsonFormatterTest, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(EscapeJson("a\xffz"), "a\ufffdz");
  EXPECT_EQ(EscapeJson("\xc3"), "\ufffd");                      // cut
  EXPECT_EQ(EscapeJson("\xc0\x80"), "\ufffd\ufffd");            // overlong
  EXPECT_EQ(EscapeJson("\xe0\x80\x80"), "\ufffd\ufffd\ufffd");  // overlong
  EXPECT_EQ(EscapeJson("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");  // a surrogate
  EXPECT_EQ(EscapeJson("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(EscapeJson("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf");
}

TEST(JsonFormatterTest, ALineIsAnObject) {
  spdlog::details::log_msg line("jobpoold", spdlog::level::warn, "say \"x\"");
  line.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'700'000'000'123));
  spdlog::memory_buf_t out;
  JsonFormatter().clone()->format(line, out);
  EXPECT_EQ(std::string(out.data(), out.size()),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warning\",\"message\":\"say \\\"x\\\"\"}\n");
}

}  // namespace
}  // namespace jobpool
