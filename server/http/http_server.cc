// The one file that includes Boost: it takes a compiler half a minute.

#include "server/http/http_server.h"

#include <array>
#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/telemetry/log.h"
#include "server/tls/server_context.h"

namespace jobpool {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

// Two, so that a scrape, which runs on one at a time, does not keep the others waiting.
constexpr int kThreads = 2;
// How long, and how much, a client that was told that we close may go on sending: closed at once, its own
// bytes on the way would make the kernel take our answer back (RFC 9112, 9.6).
constexpr std::chrono::seconds kLinger{1};
constexpr size_t kLingerBytes = 1 << 20;
// When there are no descriptors left, say.
constexpr std::chrono::milliseconds kAcceptAgain{100};

absl::string_view View(beast::string_view text) { return {text.data(), text.size()}; }

// Shows the thread as RUNNING for the length of a scope.
struct Busy {
  Busy() { RegisteredThread::Current()->SetRunning(true); }
  ~Busy() { RegisteredThread::Current()->SetRunning(false); }
};

// One of few. Given back when the last copy goes.
using ScrapePlace = std::shared_ptr<void>;

class Connection;

// What connections share. Thread-safe.
class Shared {
 public:
  Shared(const Pages& shown, const HttpLimits& bounds)
      : pages(shown), limits(bounds), scrapes(asio::make_strand(io)) {}

  // Null: there are as many as there may be.
  ScrapePlace TakeScrapePlace() {
    if (taken_.fetch_add(1) >= limits.max_scrapes) {
      taken_.fetch_sub(1);
      return nullptr;
    }
    return {this, [this](void*) { taken_.fetch_sub(1); }};
  }

  // False: there are as many as there may be.
  bool Add(const std::shared_ptr<Connection>& connection) {
    MutexLock lock(mu_);
    if (connections_.size() >= static_cast<size_t>(limits.max_connections)) return false;
    connections_.emplace(connection.get(), connection);
    return true;
  }

  void Remove(Connection* connection) {
    MutexLock lock(mu_);
    connections_.erase(connection);
    changed_cv_.NotifyAll();
  }

  // No connection is added after this.
  void Close() {
    MutexLock lock(mu_);
    closed_ = true;
    changed_cv_.NotifyAll();
  }

  // Until it is closed and no connection is left, or `deadline`.
  void AwaitEnd(MonotonicTime deadline) {
    const Clock& clock = Clock::Real();
    MutexLock lock(mu_);
    while (!(closed_ && connections_.empty()) && clock.Monotonic() < deadline) {
      clock.WaitUntil(changed_cv_, mu_, deadline);
    }
  }

  std::vector<std::shared_ptr<Connection>> All() const {
    std::vector<std::shared_ptr<Connection>> all;
    MutexLock lock(mu_);
    for (const auto& [pointer, connection] : connections_) {
      if (auto living = connection.lock()) all.push_back(std::move(living));
    }
    return all;
  }

  const Pages& pages;
  const HttpLimits limits;

 private:
  mutable Mutex mu_;
  CondVar changed_cv_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::map<Connection*, std::weak_ptr<Connection>> connections_ ABSL_GUARDED_BY(mu_);
  std::atomic<int> taken_{0};  // of the places for scrapes

 public:
  // Connections remove themselves: what holds them goes before the rest.
  asio::io_context io{kThreads};
  asio::strand<asio::io_context::executor_type> scrapes;
};

// Lives as long as one of its operations is under way. Thread-safe.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(Shared& shared) : shared_(shared) {}
  virtual ~Connection() { shared_.Remove(this); }

  virtual void Start() = 0;
  // Closes unless it answers; then after that.
  virtual void Finish() = 0;
  virtual void Close() = 0;

 protected:
  Shared& shared_;
};

// Over TCP, or over TLS on it. Its private part runs on its own strand.
template <typename Stream>
class StreamConnection final : public Connection {
 public:
  template <typename... Arguments>
  explicit StreamConnection(Shared& shared, Arguments&&... arguments)
      : Connection(shared), stream_(std::forward<Arguments>(arguments)...) {}

  void Start() override {
    Dispatch([](StreamConnection& self) {
      if constexpr (kTls) {
        self.SetDeadline(self.shared_.limits.handshake_time);
        self.stream_.async_handshake(asio::ssl::stream_base::server,
                                     self.Then([](StreamConnection& me, error_code error, size_t = 0) {
                                       if (!error) me.AwaitRequest();
                                     }));
      } else {
        self.AwaitRequest();
      }
    });
  }

  void Finish() override {
    Dispatch([](StreamConnection& self) {
      self.finishing_ = true;
      if (!self.answering_) self.socket().close();
    });
  }

  void Close() override {
    Dispatch([](StreamConnection& self) {
      self.finishing_ = true;
      self.socket().close();
    });
  }

 private:
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;

  beast::tcp_stream& socket() { return beast::get_lowest_layer(stream_); }

  void SetDeadline(absl::Duration time) { socket().expires_after(absl::ToChronoNanoseconds(time)); }

  std::shared_ptr<StreamConnection> Self() {
    return std::static_pointer_cast<StreamConnection>(shared_from_this());
  }

  // A handler that keeps this alive and calls `next` with it.
  template <typename Next>
  auto Then(Next next) {
    return [self = Self(), next](auto... results) { next(*self, results...); };
  }

  template <typename Next>
  void Dispatch(Next next) {
    asio::dispatch(stream_.get_executor(), Then(next));
  }

  void AwaitRequest() {
    answering_ = false;
    if (finishing_) return socket().close();
    parser_.emplace();
    // Beast's own bound on the header is a rough one: it holds where the header comes in many pieces.
    parser_->header_limit(static_cast<uint32_t>(shared_.limits.max_header_bytes + kFirstRead));
    parser_->body_limit(shared_.limits.max_body_bytes);
    if (buffer_.size() > 0) return ReadRequest();  // it came with the one before
    SetDeadline(shared_.limits.idle_time);
    stream_.async_read_some(buffer_.prepare(kFirstRead),
                            Then([](StreamConnection& self, error_code error, size_t size) {
                              if (error) return;
                              self.buffer_.commit(size);
                              self.ReadRequest();
                            }));
  }

  void ReadRequest() {
    SetDeadline(shared_.limits.request_time);
    http::async_read_header(stream_, buffer_, *parser_,
                            Then([](StreamConnection& self, error_code error, size_t size) {
                              if (!error && size > self.shared_.limits.max_header_bytes) {
                                error = http::error::header_limit;
                              }
                              if (error) return self.Refuse(error);
                              // Such a client waits for our leave to send the body: it gets the answer
                              // instead.
                              if (self.parser_->get().count(http::field::expect) > 0)
                                return self.Answer(false);
                              self.ReadBody();
                            }));
  }

  void ReadBody() {
    http::async_read(stream_, buffer_, *parser_, Then([](StreamConnection& self, error_code error, size_t) {
                       if (error) return self.Refuse(error);
                       self.Answer(self.parser_->get().keep_alive());
                     }));
  }

  // Tells a client that sent what is no request. Others have gone, or were too slow.
  void Refuse(error_code error) {
    static const auto& of_http = http::make_error_code(http::error::bad_method).category();
    if (error.category() != of_http || error == http::error::end_of_stream ||
        error == http::error::partial_message) {
      return;
    }
    answering_ = true;
    keep_alive_ = false;
    if (error == http::error::header_limit) return Write({431, "the header is too large\n"}, nullptr);
    if (error == http::error::body_limit) return Write({413, "the body is too large\n"}, nullptr);
    Write({400, absl::StrCat("no request: ", error.message(), "\n")}, nullptr);
  }

  void Answer(bool keep_alive) {
    const Busy busy;
    answering_ = true;
    keep_alive_ = keep_alive && !finishing_;
    const absl::string_view method = View(parser_->get().method_string());
    const absl::string_view target = View(parser_->get().target());
    if (!Pages::IsScrape(method, target)) return Write(shared_.pages.Show(method, target), nullptr);
    ScrapePlace place = shared_.TakeScrapePlace();
    if (place == nullptr) {
      Page page{503, "too many scrapes at a time\n"};
      page.retry_after = "1";
      return Write(std::move(page), nullptr);
    }
    asio::post(shared_.scrapes, [self = Self(), method, target, place = std::move(place)]() mutable {
      Page page;
      {
        const Busy scraping;
        page = self->shared_.pages.Show(method, target);
      }
      // In this order: the executor is self's.
      const auto executor = self->stream_.get_executor();
      asio::post(executor,
                 [self = std::move(self), page = std::move(page), place = std::move(place)]() mutable {
                   self->Write(std::move(page), std::move(place));
                 });
    });
  }

  // `place` is held until it is written.
  void Write(Page page, ScrapePlace place) {
    const auto& request = parser_->get();
    response_.emplace();
    response_->version(request.version() == 10 ? 10 : 11);
    response_->result(page.status);
    response_->keep_alive(keep_alive_);
    response_->set(http::field::date, std::string(absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(),
                                                                   absl::UTCTimeZone())));
    response_->set(http::field::content_type, page.content_type);
    if (!page.allow.empty()) response_->set(http::field::allow, page.allow);
    if (!page.retry_after.empty()) response_->set(http::field::retry_after, page.retry_after);
    response_->body() = std::move(page.body);
    response_->prepare_payload();
    serializer_.emplace(*response_);
    SetDeadline(shared_.limits.response_time);
    auto written = Then([place = std::move(place)](StreamConnection& self, error_code error, size_t) {
      self.serializer_.reset();
      self.response_.reset();
      if (error) return;
      if (self.keep_alive_) return self.AwaitRequest();
      self.SayGoodbye();
    });
    if (request.method() == http::verb::head) {
      serializer_->split(true);
      http::async_write_header(stream_, *serializer_, std::move(written));
    } else {
      http::async_write(stream_, *serializer_, std::move(written));
    }
  }

  void SayGoodbye() {
    if constexpr (kTls) {
      socket().expires_after(kLinger);
      stream_.async_shutdown(Then([](StreamConnection& self, error_code) { self.Linger(); }));
    } else {
      Linger();
    }
  }

  void Linger() {
    error_code gone;
    socket().socket().shutdown(tcp::socket::shutdown_send, gone);
    if (gone) return;
    socket().expires_after(kLinger);
    PassOver();
  }

  // What still comes, until the client has closed, or its time or bytes are used up.
  void PassOver(size_t left = kLingerBytes) {
    buffer_.clear();
    socket().async_read_some(buffer_.prepare(kFirstRead),
                             Then([left](StreamConnection& self, error_code error, size_t size) {
                               if (!error && size < left) self.PassOver(left - size);
                             }));
  }

  static constexpr size_t kFirstRead = 4096;

  Stream stream_;
  // A header lies in it as a whole; a body goes through it.
  beast::flat_buffer buffer_{shared_.limits.max_header_bytes + 2 * kFirstRead};
  // Each made anew for each request.
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  bool keep_alive_ = false;  // after this answer
  bool answering_ = false;   // from a request's last byte to the answer's, and while saying goodbye
  bool finishing_ = false;
};

absl::Status CannotListen(const ListenAddress& address, const error_code& error) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address.ToString(address.port), ": ", error.message()));
}

}  // namespace

// Takes connections. What it does by itself runs on the acceptor's strand.
class HttpServer::Listener {
 public:
  Listener(const Pages& pages, const HttpLimits& limits, const CertificateFiles* certificates)
      : shared_(pages, limits),
        certificates_(certificates),
        acceptor_(asio::make_strand(shared_.io)),
        accept_again_(acceptor_.get_executor()) {}

  absl::StatusOr<int> Listen(const ListenAddress& address) {
    error_code error;
    const auto ip = asio::ip::make_address(address.host, error);
    if (error)
      return absl::InvalidArgumentError(absl::StrCat(address.ToString(address.port), " is not IP:PORT"));
    const tcp::endpoint endpoint(ip, static_cast<uint16_t>(address.port));
    acceptor_.open(endpoint.protocol(), error);
    // A port whose last connections are still being closed is free for us. SO_REUSEPORT is not set: with
    // it a second server on the port would start, and take half the requests.
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return CannotListen(address, error);
    const tcp::endpoint bound = acceptor_.local_endpoint(error);
    if (error) return CannotListen(address, error);
    return bound.port();
  }

  void Serve(ThreadRegistry& registry) {
    Accept();
    for (int i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this, &registry] {
        const RegisteredThread thread(registry, ThreadRole::kService, "");
        shared_.io.run();
      });
    }
  }

  void Stop(absl::Duration grace) {
    asio::post(acceptor_.get_executor(), [this] {
      error_code ignored;
      acceptor_.close(ignored);
      accept_again_.cancel();
      shared_.Close();
      for (const auto& connection : shared_.All()) connection->Finish();
    });
    if (!threads_.empty()) shared_.AwaitEnd(Later(Clock::Real().Monotonic(), grace));
    for (const auto& connection : shared_.All()) connection->Close();
    // Nothing is left then that they could wait for.
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Accept() {
    acceptor_.async_accept(asio::make_strand(shared_.io), [this](error_code error, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (!error) {
        Open(std::move(socket));
        Accept();
        return;
      }
      accept_again_.expires_after(kAcceptAgain);
      accept_again_.async_wait([this](error_code) {
        if (acceptor_.is_open()) Accept();
      });
    });
  }

  void Open(tcp::socket socket) {
    error_code ignored;
    // Or the last part of an answer would wait for the client to confirm those before.
    socket.set_option(tcp::no_delay(true), ignored);
    std::shared_ptr<Connection> connection;
    if (certificates_ == nullptr) {
      connection = std::make_shared<StreamConnection<beast::tcp_stream>>(shared_, std::move(socket));
    } else {
      RefreshContext();
      if (context_ == nullptr) return;
      connection = std::make_shared<StreamConnection<beast::ssl_stream<beast::tcp_stream>>>(
          shared_, std::move(socket), *context_);
    }
    if (shared_.Add(connection)) connection->Start();
  }

  // Connections hold what they need of the old one.
  void RefreshContext() {
    const std::shared_ptr<const Identity> identity = certificates_->Current();
    if (identity->version == context_version_) return;
    context_version_ = identity->version;
    absl::StatusOr<SslContextPtr> context = NewServerContext(*identity);
    if (context.ok()) {
      context_ = std::make_unique<asio::ssl::context>(context->release());
    } else {
      Log().error("HTTP keeps its certificate: {}", std::string(context.status().message()));
    }
  }

  Shared shared_;
  const CertificateFiles* const certificates_;
  uint64_t context_version_ = 0;
  std::unique_ptr<asio::ssl::context> context_;
  tcp::acceptor acceptor_;
  asio::steady_timer accept_again_;
  std::vector<std::thread> threads_;
};

HttpServer::HttpServer(ThreadRegistry& registry, Metrics metrics, HttpLimits limits)
    : registry_(registry), limits_(limits), pages_(std::move(metrics)) {}

HttpServer::~HttpServer() { Stop(absl::ZeroDuration()); }

absl::Status HttpServer::Start(const ListenAddress& address, const CertificateFiles* certificates) {
  listener_ = std::make_unique<Listener>(pages_, limits_, certificates);
  const absl::StatusOr<int> port = listener_->Listen(address);
  if (!port.ok()) {
    listener_.reset();
    return port.status();
  }
  port_ = *port;
  try {
    listener_->Serve(registry_);
  } catch (const std::system_error& error) {  // no more threads to be had
    Stop(absl::ZeroDuration());
    return absl::UnavailableError(absl::StrCat("cannot serve HTTP: ", error.what()));
  }
  return absl::OkStatus();
}

void HttpServer::Stop(absl::Duration grace) {
  if (listener_ == nullptr) return;
  listener_->Stop(grace);
  listener_.reset();
}

}  // namespace jobpool
