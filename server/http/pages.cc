#include "server/http/pages.h"

#include <exception>
#include <utility>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

absl::string_view PathOf(absl::string_view target) { return target.substr(0, target.find('?')); }

bool Reads(absl::string_view method) { return method == "GET" || method == "HEAD"; }

}  // namespace

bool Pages::IsScrape(absl::string_view method, absl::string_view target) {
  return Reads(method) && PathOf(target) == "/metrics";
}

Page Pages::Show(absl::string_view method, absl::string_view target) const {
  const absl::string_view path = PathOf(target);
  if (path != "/metrics" && path != "/healthz" && path != "/readyz") return {404, "not found\n"};
  if (!Reads(method)) {
    Page page{405, "only GET and HEAD\n"};
    page.allow = "GET, HEAD";
    return page;
  }
  if (path == "/metrics") return Scrape();
  if (path == "/readyz" && !ready_.load()) return {503, "not serving\n"};
  return {200, "ok\n"};
}

Page Pages::Scrape() const {
  try {
    std::vector<prometheus::MetricFamily> families;
    for (const auto& metrics : metrics_) {
      for (prometheus::MetricFamily& family : metrics->Collect()) families.push_back(std::move(family));
    }
    return {200, prometheus::TextSerializer().Serialize(families),
            "text/plain; version=0.0.4; charset=utf-8"};
  } catch (const std::exception& error) {  // from the library, or out of memory
    return {500, absl::StrCat("cannot collect: ", error.what(), "\n")};
  }
}

}  // namespace jobpool
