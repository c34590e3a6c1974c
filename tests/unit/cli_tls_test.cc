// TLS between the client and a server of gRPC's in this process, with certificates
// that the `openssl` command makes.

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "jobpool/client.h"
#include "jobpool/v1/pool_service.grpc.pb.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

/// Two authorities, and certificates of the first one. Made once for all tests.
class Certificates {
 public:
  Certificates() {
    for (const char* authority : {"ca", "other"}) {
      Run(absl::StrCat("req -x509 ", kNewKey, " -days 2 -subj /CN=", authority, " -keyout ", Key(authority),
                       " -out ", Cert(authority)));
    }
    Sign("server", "127.0.0.1", 2);
    Sign("elsewhere", "192.0.2.1", 2);
    Sign("expired", "127.0.0.1", -1);
    Sign("client", "127.0.0.1", 2);
    Run(absl::StrCat("ec -aes128 -passout pass:x -in ", Key("client"), " -out ", Key("locked")));
  }

  std::string Cert(const std::string& name) const { return directory_.Path(name + ".pem"); }
  std::string Key(const std::string& name) const { return directory_.Path(name + ".key"); }

  static const Certificates& Get() {
    static const Certificates certificates;
    return certificates;
  }

 private:
  static constexpr char kNewKey[] = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

  void Sign(const std::string& name, const std::string& address, int days) const {
    const std::string request = directory_.Path(name + ".csr");
    Run(absl::StrCat("req ", kNewKey, " -subj /CN=", name, " -addext subjectAltName=IP:", address,
                     " -keyout ", Key(name), " -out ", request));
    Run(absl::StrCat("x509 -req -copy_extensions copy -days ", days, " -CA ", Cert("ca"), " -CAkey ",
                     Key("ca"), " -CAcreateserial -in ", request, " -out ", Cert(name)));
  }

  static void Run(const std::string& arguments) {
    const std::string command = absl::StrCat("openssl ", arguments, " >/dev/null 2>&1");
    if (std::system(command.c_str()) != 0) ADD_FAILURE() << command;
  }

  TempDir directory_;
};

std::string Read(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

constexpr char kNotVerified[] =
    "TLS handshake failed: certificate verify failed (the server's has expired, or no authority that is "
    "trusted "
    "here signed it)";
constexpr char kWantsCertificate[] =
    "the server closed the connection at once; it may want a client certificate, or another one";

class Pools : public v1::PoolService::Service {
  grpc::Status ListPools(grpc::ServerContext*, const v1::ListPoolsRequest*, v1::ListPoolsResponse*) override {
    return grpc::Status::OK;
  }
};

class TlsTest : public testing::Test {
 protected:
  void Serve(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port);
    builder.RegisterService(&pools_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  /// A server that shows the certificate of that name.
  void ServeTls(const std::string& name, bool wants_client = false) {
    grpc::SslServerCredentialsOptions options(wants_client
                                                  ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                  : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
    options.pem_root_certs = Read(files_.Cert("ca"));
    options.pem_key_cert_pairs.push_back({Read(files_.Key(name)), Read(files_.Cert(name))});
    Serve(grpc::SslServerCredentials(options));
  }

  /// How a call goes. Fails the test if it takes as long as connecting may.
  absl::Status Call(const TlsFiles& tls) {
    const absl::Time start = absl::Now();
    const auto client = Client::Create(address_, {.tls = tls});
    EXPECT_TRUE(client.ok()) << client.status();
    const absl::Status status = (*client)->ListPools(v1::ListPoolsRequest()).status();
    EXPECT_LT(absl::Now() - start, ClientOptions().connect_timeout);
    return status;
  }

  void ExpectRefused(const TlsFiles& tls, const std::string& why) {
    const absl::Status status = Call(tls);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(std::string(status.message()), absl::StrCat("cannot reach ", address_, ": ", why));
  }

  void ExpectBadFile(const TlsFiles& tls, const std::string& why) {
    const absl::Status status = Client::Create("h:1", {.tls = tls}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(status.message()), why);
  }

  const Certificates& files_ = Certificates::Get();
  Pools pools_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

TEST_F(TlsTest, ServerIsKnown) {
  ServeTls("server");
  EXPECT_TRUE(Call({.ca = files_.Cert("ca")}).ok());
}

TEST_F(TlsTest, ClientIsKnown) {
  ServeTls("server", /*wants_client=*/true);
  EXPECT_TRUE(
      Call({.ca = files_.Cert("ca"), .cert = files_.Cert("client"), .key = files_.Key("client")}).ok());
}

TEST_F(TlsTest, ServerOfAnotherAuthority) {
  ServeTls("server");
  ExpectRefused({.ca = files_.Cert("other")}, kNotVerified);
}

TEST_F(TlsTest, ServerThatTheSystemDoesNotKnow) {
  ServeTls("server");
  ExpectRefused({.cert = files_.Cert("client"), .key = files_.Key("client")}, kNotVerified);
}

TEST_F(TlsTest, ServerWhoseCertificateHasExpired) {
  ServeTls("expired");
  ExpectRefused({.ca = files_.Cert("ca")}, kNotVerified);
}

TEST_F(TlsTest, ServerOfAnotherName) {
  ServeTls("elsewhere");
  ExpectRefused({.ca = files_.Cert("ca")}, "Peer name 127.0.0.1 is not in peer certificate");
}

TEST_F(TlsTest, ServerThatWantsACertificate) {
  ServeTls("server", /*wants_client=*/true);
  ExpectRefused({.ca = files_.Cert("ca")}, kWantsCertificate);
}

TEST_F(TlsTest, ServerThatWantsAnotherCertificate) {
  ServeTls("server", /*wants_client=*/true);
  ExpectRefused({.ca = files_.Cert("ca"), .cert = files_.Cert("other"), .key = files_.Key("other")},
                kWantsCertificate);
}

TEST_F(TlsTest, PlainClientOnATlsServer) {
  ServeTls("server");
  ExpectRefused({}, "the server closed the connection at once; it may want TLS");
}

TEST_F(TlsTest, TlsClientOnAPlainServer) {
  Serve(grpc::InsecureServerCredentials());
  ExpectRefused({.ca = files_.Cert("ca")},
                "TLS handshake failed: wrong version number (the server seems to serve without TLS)");
}

TEST_F(TlsTest, FilesThatAreNotWhatTheyShouldBe) {
  const std::string cert = files_.Cert("client");
  const std::string key = files_.Key("client");
  ExpectBadFile({.ca = "/nonexistent/ca.pem"}, "cannot read /nonexistent/ca.pem: No such file or directory");
  ExpectBadFile({.ca = "/proc/self"}, "cannot read /proc/self: Is a directory");
  ExpectBadFile({.ca = "/dev/zero"}, "/dev/zero is too large");
  ExpectBadFile({.ca = "/dev/null"}, "/dev/null holds no certificate in PEM form");
  ExpectBadFile({.ca = key}, absl::StrCat(key, " holds no certificate in PEM form"));
  ExpectBadFile({.cert = key, .key = key}, absl::StrCat(key, " holds no certificate in PEM form"));
  ExpectBadFile({.cert = cert, .key = cert},
                absl::StrCat(cert, " holds no private key in PEM form without a password"));
  ExpectBadFile({.cert = cert, .key = files_.Key("locked")},
                absl::StrCat(files_.Key("locked"), " holds no private key in PEM form without a password"));
  ExpectBadFile({.cert = cert, .key = files_.Key("other")},
                absl::StrCat(files_.Key("other"), " is not the key of ", cert));
  ExpectBadFile({.cert = cert}, "a TLS certificate and its key are needed together");
  ExpectBadFile({.key = key}, "a TLS certificate and its key are needed together");
}

}  // namespace
}  // namespace jobpool
