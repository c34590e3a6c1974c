#include "server/http/http_server.h"

#include <algorithm>
#include <atomic>
#include <gmock/gmock.h>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "absl/strings/str_cat.h"
#include "tests/support/eventually.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_client.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kHealth[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr char kScrape[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr char kLastHealth[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
constexpr char kOk[] = "HTTP/1.1 200 OK\r\n";
constexpr absl::Duration kShort = absl::Milliseconds(200);

// One metric, whose help is as long as the test likes, and which can be made to wait.
class TestMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    const int now = ++collecting_;
    most_ = std::max(most_.load(), now);
    ++begun_;
    if (gate_ != nullptr) gate_->Await();
    --collecting_;
    prometheus::MetricFamily family;
    family.name = "test";
    family.help = std::string(help_bytes_, 'x');
    family.metric.resize(1);
    return {family};
  }

  // Set before it is used.
  size_t help_bytes_ = 10;
  const Gate* gate_ = nullptr;

  mutable std::atomic<int> begun_{0};
  mutable std::atomic<int> collecting_{0};
  mutable std::atomic<int> most_{0};  // at a time
};

class HttpServerTest : public ::testing::Test {
 protected:
  int Start(const CertificateFiles* certificates = nullptr, const std::string& address = "127.0.0.1:0") {
    server_ = std::make_unique<HttpServer>(registry_, HttpServer::Metrics{metrics_}, limits_);
    const absl::Status started = server_->Start(*ListenAddress::Parse(address), certificates);
    EXPECT_EQ(started, absl::OkStatus());
    return server_->port();
  }

  // Of one connection that says this much.
  std::string Ask(const std::string& request) {
    RawClient client(server_->port());
    client.Send(request);
    return client.Answer(request.substr(0, 4) == "HEAD");
  }

  bool Serves() { return Ask(kLastHealth).substr(0, sizeof(kOk) - 1) == kOk; }

  // That the server closes a connection after `time` and not before.
  void ExpectClosedAfter(RawClient& client, absl::Duration time, absl::Time since) {
    EXPECT_EQ(client.Rest(), "");
    EXPECT_GE(absl::Now() - since, time);
    EXPECT_TRUE(Serves());
  }

  HttpLimits limits_;
  std::shared_ptr<TestMetrics> metrics_ = std::make_shared<TestMetrics>();
  ThreadRegistry registry_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, ServesItsPages) {
  Start();
  EXPECT_THAT(Ask(kHealth), StartsWith(kOk));
  EXPECT_THAT(Ask(kHealth), EndsWith("\r\nContent-Length: 3\r\n\r\nok\n"));
  EXPECT_THAT(Ask("GET /readyz HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 503 "));
  server_->SetReady(true);
  EXPECT_THAT(Ask("GET /readyz HTTP/1.1\r\n\r\n"), StartsWith(kOk));
  EXPECT_THAT(Ask("GET /nope HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  const std::string refused = Ask("POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(refused, HasSubstr("\r\nAllow: GET, HEAD\r\n"));
  const std::string scrape = Ask(kScrape);
  EXPECT_THAT(scrape, HasSubstr("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(scrape, HasSubstr("# HELP test xxxxxxxxxx\n"));
}

TEST_F(HttpServerTest, HeadIsGetWithoutItsBody) {
  Start();
  for (const std::string path : {"/healthz", "/metrics", "/nope"}) {
    RawClient client(server_->port());
    client.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\n\r\nHEAD ", path, " HTTP/1.1\r\n\r\n", kLastHealth));
    const std::string answer = client.Answer();
    const std::string header = answer.substr(0, answer.find("\r\n\r\n") + 4);
    const auto without_date = [](std::string text) { return text.replace(text.find("Date: "), 35, ""); };
    EXPECT_EQ(without_date(client.Answer(true)), without_date(header));
    EXPECT_THAT(client.Answer(), StartsWith(kOk));  // with nothing before it
  }
}

TEST_F(HttpServerTest, KeepsAConnectionAsItsVersionSays) {
  const int port = Start();
  RawClient client(port);
  for (int i = 0; i < 20; ++i) {
    client.Send(i % 2 == 0 ? kHealth : kScrape);
    EXPECT_THAT(client.Answer(), StartsWith(kOk));
  }
  client.Send(kLastHealth);
  EXPECT_THAT(client.Rest(), HasSubstr("\r\nConnection: close\r\n"));

  RawClient old(port);
  old.Send("GET /healthz HTTP/1.0\r\n\r\n");
  const std::string answer = old.Rest();
  EXPECT_THAT(answer, StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nok\n"));

  RawClient old_and_kept(port);
  for (int i = 0; i < 3; ++i) {
    old_and_kept.Send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_THAT(old_and_kept.Answer(), HasSubstr("\r\nConnection: keep-alive\r\n"));
  }
}

TEST_F(HttpServerTest, AnswersRequestsThatComeTogether) {
  RawClient client(Start());
  std::string requests;
  for (int i = 0; i < 500; ++i) requests += kHealth;
  client.Send(requests);
  for (int i = 0; i < 500; ++i) ASSERT_THAT(client.Answer(), StartsWith(kOk));
}

TEST_F(HttpServerTest, AnswersAClientThatHasClosedItsSide) {
  RawClient client(Start());
  client.Send(kHealth);
  client.HalfClose();
  EXPECT_THAT(client.Rest(), EndsWith("ok\n"));
}

TEST_F(HttpServerTest, ServesOverIpv6) {
  Start(nullptr, "[::1]:0");
  EXPECT_GT(server_->port(), 0);
  const int client = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(static_cast<uint16_t>(server_->port()));
  address.sin6_addr = in6addr_loopback;
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_GT(send(client, kLastHealth, sizeof(kLastHealth) - 1, 0), 0);
  char answer[16] = "";
  EXPECT_GT(recv(client, answer, sizeof(answer) - 1, 0), 0);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  close(client);
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  const std::string taken = absl::StrCat("127.0.0.1:", Start());
  HttpServer second(registry_, {});
  absl::Status status = second.Start(*ListenAddress::Parse(taken));
  EXPECT_EQ(status,
            absl::UnavailableError(absl::StrCat("cannot listen on ", taken, ": Address already in use")));
  status = HttpServer(registry_, {}).Start(*ListenAddress::Parse("192.0.2.1:1"));
  EXPECT_EQ(status, absl::UnavailableError("cannot listen on 192.0.2.1:1: Cannot assign requested address"));
  EXPECT_TRUE(Eventually([&] { return registry_.Count().total() == 2; }));  // of the one that serves
  EXPECT_TRUE(Serves());  // over a connection that lingers in the kernel
  server_.reset();
  EXPECT_EQ(registry_.Count().total(), 0);
  Start(nullptr, taken);  // free at once
  EXPECT_TRUE(Serves());
}

TEST_F(HttpServerTest, ItsThreadsAreInRollCall) {
  Gate go;
  metrics_->gate_ = &go;
  RawClient client(Start());
  const auto running = [&] {
    int count = 0;
    for (const ThreadInfo& thread : registry_.Snapshot().threads) {
      EXPECT_EQ(thread.role, ThreadRole::kService);
      count += thread.running() ? 1 : 0;
    }
    return count;
  };
  EXPECT_TRUE(Eventually([&] { return registry_.Count().total() == 2 && running() == 0; }));
  client.Send(kScrape);
  EXPECT_TRUE(Eventually([&] { return running() == 1; }));
  go.Open();
  EXPECT_THAT(client.Answer(), StartsWith(kOk));
  EXPECT_TRUE(Eventually([&] { return running() == 0; }));
}

TEST_F(HttpServerTest, ScrapesThatTakeLongLeaveAThreadToTheOthers) {
  Gate go;
  metrics_->gate_ = &go;
  const int port = Start();
  std::vector<RawClient> scrapers;
  for (int i = 0; i < 4; ++i) {
    scrapers.emplace_back(port);
    scrapers.back().Send(kScrape);
  }
  EXPECT_TRUE(Eventually([&] { return metrics_->begun_ == 1; }));
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Serves());
  go.Open();
  for (RawClient& scraper : scrapers) EXPECT_THAT(scraper.Answer(), StartsWith(kOk));
  EXPECT_EQ(metrics_->most_, 1);
}

TEST_F(HttpServerTest, ABoundOnScrapesAtATime) {
  Gate go;
  metrics_->gate_ = &go;
  limits_.max_scrapes = 3;
  const int port = Start();
  std::vector<RawClient> clients;
  std::vector<std::string> answers;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back(port);
    clients.back().Send(kScrape);
  }
  // One of them is refused at once, whichever came last.
  const auto refused = [&] {
    return std::count_if(clients.begin(), clients.end(),
                         [](const RawClient& client) { return client.HasNews(); });
  };
  EXPECT_TRUE(Eventually([&] { return refused() == 1; }));
  EXPECT_THAT(Ask(kScrape), HasSubstr("\r\nRetry-After: 1\r\n"));
  EXPECT_THAT(Ask("HEAD /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(Serves());
  EXPECT_EQ(refused(), 1);
  go.Open();
  int served = 0;
  for (RawClient& client : clients) served += client.Answer().substr(0, sizeof(kOk) - 1) == kOk ? 1 : 0;
  EXPECT_EQ(served, 3);
  EXPECT_THAT(Ask(kScrape), StartsWith(kOk));  // there is room again
}

// It holds its place until the answer is written, or its time is over.
TEST_F(HttpServerTest, ASlowReaderHoldsAnAnswerAndNotForLong) {
  limits_.max_scrapes = 1;
  limits_.response_time = absl::Seconds(1);
  metrics_->help_bytes_ = 16 << 20;  // more than the kernel takes
  RawClient reader(Start(), 4096);
  const absl::Time asked = absl::Now();
  reader.Send(kScrape);
  EXPECT_TRUE(Eventually([&] { return reader.HasNews(); }));  // and it does not read it
  EXPECT_THAT(Ask(kScrape), StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(Serves());
  EXPECT_TRUE(Eventually([&] { return Ask(kScrape).substr(0, sizeof(kOk) - 1) == kOk; }));
  EXPECT_GE(absl::Now() - asked, limits_.response_time);
  EXPECT_LT(reader.Rest().size(), metrics_->help_bytes_);  // cut off
}

TEST_F(HttpServerTest, ABoundOnConnections) {
  limits_.max_connections = 5;
  const int port = Start();
  std::vector<RawClient> clients;
  for (int i = 0; i < 5; ++i) {
    clients.emplace_back(port);
    clients.back().Send(kHealth);
    EXPECT_THAT(clients.back().Answer(), StartsWith(kOk));
  }
  RawClient next(port);
  EXPECT_EQ(next.Rest(), "");
  clients.pop_back();  // one leaves, and there is room
  EXPECT_TRUE(Eventually([&] { return Serves(); }));
  clients.front().Send(kHealth);
  EXPECT_THAT(clients.front().Answer(), StartsWith(kOk));
}

TEST_F(HttpServerTest, ABoundOnTheHeader) {
  limits_.max_header_bytes = 1000;
  Start();
  const auto request = [](size_t bytes) {
    const std::string start = "GET /healthz HTTP/1.1\r\nX: ";
    return absl::StrCat(start, std::string(bytes - start.size() - 4, 'x'), "\r\n\r\n");
  };
  EXPECT_THAT(Ask(request(999)), StartsWith(kOk));
  EXPECT_THAT(Ask(request(1000)), StartsWith(kOk));
  EXPECT_THAT(Ask(request(1001)), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(Ask(request(100'000)), StartsWith("HTTP/1.1 431 "));
  for (const size_t bytes : {1000, 1001}) {  // byte by byte
    RawClient client(server_->port());
    for (const char byte : request(bytes)) client.Send(std::string(1, byte));
    EXPECT_THAT(client.Answer(), StartsWith(bytes == 1000 ? kOk : "HTTP/1.1 431 "));
  }
  EXPECT_THAT(Ask(std::string(100'000, 'x')), StartsWith("HTTP/1.1 4"));  // a line without end
  EXPECT_THAT(Ask("GET /" + std::string(100'000, 'x')), StartsWith("HTTP/1.1 431 "));
  RawClient client(server_->port());
  client.Send(request(1001));
  EXPECT_THAT(client.Rest(), HasSubstr("\r\nConnection: close\r\n"));
}

TEST_F(HttpServerTest, ABoundOnTheBody) {
  limits_.max_body_bytes = 1000;
  Start();
  const auto request = [](size_t bytes) {
    return absl::StrCat("POST /healthz HTTP/1.1\r\nContent-Length: ", bytes, "\r\n\r\n",
                        std::string(bytes, 'x'));
  };
  const auto chunked = [](size_t bytes) {
    return absl::StrCat("POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", absl::Hex(bytes),
                        "\r\n", std::string(bytes, 'x'), "\r\n0\r\n\r\n");
  };
  for (const std::string& fits : {request(999), request(1000), chunked(999), chunked(1000)}) {
    RawClient client(server_->port());
    client.Send(fits);
    EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 405 "));
    client.Send(kHealth);  // it has been passed over as a whole
    EXPECT_THAT(client.Answer(), StartsWith(kOk));
  }
  for (const std::string& beyond : {request(1001), request(100'000), chunked(1001), chunked(100'000)}) {
    RawClient client(server_->port());
    client.Send(beyond);
    const std::string answer = client.Rest();
    EXPECT_FALSE(client.was_reset());  // which could have cost it the answer
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
    EXPECT_THAT(answer, HasSubstr("\r\nConnection: close\r\n"));
  }
}

TEST_F(HttpServerTest, AClientThatAsksBeforeItSendsGetsTheAnswer) {
  Start();
  EXPECT_THAT(Ask("POST /metrics HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"),
              StartsWith("HTTP/1.1 405 "));
}

TEST_F(HttpServerTest, WhatIsNoRequestIsRefusedAndClosed) {
  Start();
  for (const char* bad :
       {"x\r\n\r\n", "GET\r\n\r\n", "GET /healthz\r\n\r\n", "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    RawClient client(server_->port());
    client.Send(bad);
    EXPECT_THAT(client.Rest(), StartsWith("HTTP/1.1 400 ")) << bad;
  }
}

TEST_F(HttpServerTest, AConnectionThatSaysNothingIsClosed) {
  limits_.idle_time = kShort;
  const int port = Start();
  absl::Time since = absl::Now();
  RawClient silent(port);
  ExpectClosedAfter(silent, kShort, since);
  RawClient kept(port);
  kept.Send(kHealth);
  since = absl::Now();
  EXPECT_THAT(kept.Answer(), StartsWith(kOk));
  ExpectClosedAfter(kept, kShort, since);
}

TEST_F(HttpServerTest, ARequestMustComeAsAWholeInTime) {
  limits_.request_time = absl::Milliseconds(500);
  limits_.idle_time = absl::Milliseconds(500);
  const int port = Start();
  for (const char* half :
       {"G", "GET /healthz HTTP/1.1\r\nX: ", "POST /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n"}) {
    const absl::Time since = absl::Now();
    RawClient client(port);
    client.Send(half);
    ExpectClosedAfter(client, limits_.request_time, since);
  }
  // Trickling does not help.
  RawClient trickling(port);
  const absl::Time since = absl::Now();
  trickling.Send("GET /healthz HTTP/1.1\r\nX: ");
  EXPECT_TRUE(Eventually([&] { return !trickling.Send("x") || trickling.HasNews(); }));
  EXPECT_GE(absl::Now() - since, limits_.request_time);
}

TEST_F(HttpServerTest, ARequestMayComeByteByByte) {
  RawClient client(Start());
  for (const char byte : std::string(kHealth)) client.Send(std::string(1, byte));
  EXPECT_THAT(client.Answer(), StartsWith(kOk));
}

TEST_F(HttpServerTest, StopClosesWhatWaits) {
  limits_.idle_time = limits_.request_time = absl::Hours(1);
  const int port = Start();
  RawClient silent(port);
  RawClient kept(port);
  kept.Send(kHealth);
  kept.Answer();
  RawClient half(port);
  half.Send("GET /hea");
  EXPECT_TRUE(Serves());  // so those before have been taken
  server_->Stop(absl::InfiniteDuration());
  EXPECT_EQ(silent.Rest() + kept.Rest() + half.Rest(), "");
  EXPECT_FALSE(RawClient(port).connected());
  EXPECT_EQ(registry_.Count().total(), 0);
  server_->Stop(absl::InfiniteDuration());
}

TEST_F(HttpServerTest, StopLetsAnswersGetOut) {
  Gate go;
  metrics_->gate_ = &go;
  metrics_->help_bytes_ = 16 << 20;
  RawClient client(Start());
  client.Send(kScrape);
  EXPECT_TRUE(Eventually([&] { return metrics_->begun_ == 1; }));
  std::thread stopping([&] { server_->Stop(absl::InfiniteDuration()); });
  EXPECT_TRUE(Eventually([&] { return !RawClient(server_->port()).connected(); }));
  go.Open();
  EXPECT_GT(client.Rest().size(), metrics_->help_bytes_);
  stopping.join();
}

TEST_F(HttpServerTest, StopWaitsForItsGraceAtMost) {
  limits_.response_time = absl::Hours(1);
  metrics_->help_bytes_ = 16 << 20;
  RawClient client(Start(), 4096);
  client.Send(kScrape);
  EXPECT_TRUE(Eventually([&] { return client.HasNews(); }));  // and does not read it
  const absl::Time since = absl::Now();
  server_->Stop(kShort);
  EXPECT_GE(absl::Now() - since, kShort);
  EXPECT_EQ(registry_.Count().total(), 0);
  EXPECT_LT(client.Rest().size(), metrics_->help_bytes_);
}

TEST_F(HttpServerTest, IsDestroyedWithClientsOfEveryKind) {
  metrics_->help_bytes_ = 1 << 20;
  const int port = Start();
  std::atomic<bool> done{false};
  std::vector<std::thread> clients;
  for (const char* request : {"", kHealth, kScrape, "GET /hea", "x\r\n\r\n", kLastHealth}) {
    clients.emplace_back([&done, port, request] {
      while (!done) {
        RawClient client(port);
        client.Send(request);
        if (request[0] != '\0') client.HasNews();
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return metrics_->begun_ > 20; }));
  server_.reset();
  done = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(registry_.Count().total(), 0);
}

class HttpsServerTest : public HttpServerTest {
 protected:
  HttpsServerTest() { Put("first"); }

  void Put(const std::string& name) {
    const TestCertificate certificate = root_.Issue(name);
    dir_.Write("chain.pem", certificate.pem);
    dir_.Write("key.pem", certificate.pem_key);
  }

  int StartTls() {
    EXPECT_EQ(files_.Load(), absl::OkStatus());
    return Start(&files_);
  }

  const TempDir dir_;
  const TestAuthority root_{"root"};
  CertificateFiles files_{{dir_.Path("chain.pem"), dir_.Path("key.pem"), ""}};
};

TEST_F(HttpsServerTest, ServesOverTls12AndLater) {
  const int port = StartTls();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const TlsAnswer answer = AskOverTls(port, root_, kLastHealth, nullptr, version);
    EXPECT_EQ(answer.certificate, "first");
    EXPECT_EQ(answer.version, version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
    EXPECT_THAT(answer.text, EndsWith("\r\n\r\nok\n"));
  }
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth, nullptr, TLS1_1_VERSION).certificate, "");
  EXPECT_EQ(AskOverTls(port, TestAuthority("other"), kLastHealth).certificate, "");
  EXPECT_THAT(AskOverTls(port, root_, absl::StrCat(kHealth, kScrape, kLastHealth)).text,
              HasSubstr("# HELP test"));
}

TEST_F(HttpsServerTest, ClosesWhatIsNoTls) {
  const int port = StartTls();
  for (const char* data : {kHealth, "x", "\x16\x03\x01\x40\x00"}) {
    RawClient client(port);
    client.Send(data);
    client.HalfClose();
    EXPECT_THAT(client.Rest(), Not(HasSubstr("HTTP")));
  }
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth).certificate, "first");
}

TEST_F(HttpsServerTest, AHandshakeMustBeDoneInTime) {
  limits_.handshake_time = kShort;
  const int port = StartTls();
  for (const char* data : {"", "\x16\x03\x01"}) {
    const absl::Time since = absl::Now();
    RawClient client(port);
    client.Send(data);
    client.Rest();
    EXPECT_GE(absl::Now() - since, kShort);
  }
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth).certificate, "first");
}

TEST_F(HttpsServerTest, ANewConnectionIsShownTheNewCertificate) {
  const int port = StartTls();
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth).certificate, "first");
  Put("second");
  ASSERT_TRUE(*files_.Reload());
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth).certificate, "second");
  dir_.Write("key.pem", "text");
  EXPECT_FALSE(files_.Reload().ok());
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth).certificate, "second");
}

TEST_F(HttpsServerTest, NoHandshakeFailsWhileCertificatesChange) {
  Put("number 0");
  const int port = StartTls();
  std::atomic<bool> done{false};
  std::atomic<int> asked{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 3; ++t) {
    clients.emplace_back([&] {
      while (!done) {
        const TlsAnswer answer = AskOverTls(port, root_, kLastHealth);
        ASSERT_THAT(answer.certificate, StartsWith("number "));
        ASSERT_THAT(answer.text, EndsWith("ok\n"));
        ++asked;
      }
    });
  }
  for (int i = 1; i <= 20; ++i) {
    Put(absl::StrCat("number ", i));
    ASSERT_TRUE(*files_.Reload());
    const int before = asked;
    ASSERT_TRUE(Eventually([&] { return asked > before + 2; }));
  }
  done = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth).certificate, "number 20");
}

TEST_F(HttpsServerTest, AClientCaLetsOnlyItsClientsIn) {
  const TestAuthority clients("clients");
  CertificateFiles files({dir_.Path("chain.pem"), dir_.Path("key.pem"), dir_.Write("ca.pem", clients.pem())});
  ASSERT_EQ(files.Load(), absl::OkStatus());
  const int port = Start(&files);
  const TestCertificate good = clients.Issue("good");
  const TestCertificate strange = root_.Issue("strange");
  const TestCertificate expired =
      clients.Issue("late", absl::Now() - absl::Hours(2), absl::Now() - absl::Hours(1));
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_THAT(AskOverTls(port, root_, kLastHealth, &good, version).text, EndsWith("ok\n"));
    EXPECT_EQ(AskOverTls(port, root_, kLastHealth, nullptr, version).text, "");
    EXPECT_EQ(AskOverTls(port, root_, kLastHealth, &strange, version).text, "");
    EXPECT_EQ(AskOverTls(port, root_, kLastHealth, &expired, version).text, "");
  }
}

TEST_F(HttpsServerTest, StopsWithClientsInEveryState) {
  limits_.handshake_time = absl::Hours(1);
  const int port = StartTls();
  RawClient silent(port);
  RawClient half(port);
  half.Send("\x16\x03\x01");
  EXPECT_EQ(AskOverTls(port, root_, kLastHealth).certificate, "first");
  server_->Stop(absl::InfiniteDuration());
  silent.Rest();
  half.Rest();
  EXPECT_EQ(registry_.Count().total(), 0);
}

}  // namespace
}  // namespace jobpool
