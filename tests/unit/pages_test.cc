#include "server/http/pages.h"

#include <gmock/gmock.h>
#include <stdexcept>

#include <gtest/gtest.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

namespace jobpool {
namespace {

using ::testing::HasSubstr;

struct Broken final : prometheus::Collectable {
  std::vector<prometheus::MetricFamily> Collect() const override { throw std::runtime_error("no luck"); }
};

TEST(PagesTest, ShowsWhetherItLivesAndServes) {
  Pages pages({});
  EXPECT_EQ(pages.Show("GET", "/healthz").status, 200u);
  EXPECT_EQ(pages.Show("GET", "/readyz").status, 503u);
  pages.SetReady(true);
  EXPECT_EQ(pages.Show("GET", "/readyz").status, 200u);
  pages.SetReady(false);
  EXPECT_EQ(pages.Show("HEAD", "/readyz").status, 503u);
  EXPECT_EQ(pages.Show("GET", "/healthz").status, 200u);
}

TEST(PagesTest, AScrapeShowsAllMetricsInOrder) {
  const auto first = std::make_shared<prometheus::Registry>();
  const auto second = std::make_shared<prometheus::Registry>();
  prometheus::BuildGauge().Name("a").Register(*first).Add({}).Set(1);
  prometheus::BuildGauge().Name("b").Register(*second).Add({}).Set(2);
  const Pages pages({second, first});
  const Page page = pages.Show("GET", "/metrics?x=y");
  EXPECT_EQ(page.status, 200u);
  EXPECT_EQ(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(page.body, "# TYPE b gauge\nb 2\n# TYPE a gauge\na 1\n");
}

TEST(PagesTest, AScrapeThatFailsIsAnAnswer) {
  const Page page = Pages({std::make_shared<Broken>()}).Show("GET", "/metrics");
  EXPECT_EQ(page.status, 500u);
  EXPECT_THAT(page.body, HasSubstr("no luck"));
}

TEST(PagesTest, RefusesOtherPathsAndMethods) {
  const Pages pages({});
  for (const char* target : {"/", "/nope", "/metrics/", "/metricsx", "", "*", "//metrics", "/Metrics"}) {
    EXPECT_EQ(pages.Show("GET", target).status, 404u) << target;
    EXPECT_EQ(pages.Show("POST", target).status, 404u) << target;
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "BREW", "get", ""}) {
    for (const char* target : {"/metrics", "/healthz", "/readyz?x"}) {
      const Page page = pages.Show(method, target);
      EXPECT_EQ(page.status, 405u) << method << target;
      EXPECT_EQ(page.allow, "GET, HEAD");
      EXPECT_FALSE(Pages::IsScrape(method, target));
    }
  }
  EXPECT_TRUE(Pages::IsScrape("GET", "/metrics?x") && Pages::IsScrape("HEAD", "/metrics"));
  EXPECT_FALSE(Pages::IsScrape("GET", "/healthz") || Pages::IsScrape("GET", "/metricsx"));
}

}  // namespace
}  // namespace jobpool
