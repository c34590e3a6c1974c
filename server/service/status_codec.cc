#include "server/service/status_codec.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"

namespace jobpool {

google::rpc::Status EncodeStatus(const absl::Status& status) {
  google::rpc::Status encoded;
  encoded.set_code(static_cast<int>(status.code()));
  encoded.set_message(std::string(status.message()));
  std::vector<std::pair<std::string, std::string>> details;
  status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    details.emplace_back(std::string(type_url), std::string(payload));
  });
  // Payloads come in no order that could be relied on.
  std::sort(details.begin(), details.end(), [](const auto& a, const auto& b) {
    const bool a_other = !absl::EndsWith(a.first, ".ErrorInfo");
    const bool b_other = !absl::EndsWith(b.first, ".ErrorInfo");
    return std::tie(a_other, a.first) < std::tie(b_other, b.first);
  });
  for (auto& [type_url, payload] : details) {
    auto* detail = encoded.add_details();
    detail->set_type_url(std::move(type_url));
    detail->set_value(std::move(payload));
  }
  return encoded;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status encoded = EncodeStatus(status);
  return grpc::Status(static_cast<grpc::StatusCode>(encoded.code()), encoded.message(),
                      encoded.SerializeAsString());
}

}  // namespace jobpool
