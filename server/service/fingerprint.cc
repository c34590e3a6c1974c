#include "server/service/fingerprint.h"

#include <array>
#include <cstring>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <openssl/sha.h>

namespace jobpool {

Fingerprint FingerprintOf(const google::protobuf::Message& request, const std::string& job_id) {
  // The id has no NUL, so that no message's bytes can be taken for a part of it.
  std::string payload = job_id;
  payload.push_back('\0');
  {
    google::protobuf::io::StringOutputStream stream(&payload);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);  // labels in the order of their keys
    request.SerializeToCodedStream(&coded);
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(payload.data()), payload.size(), digest.data());
  Fingerprint fingerprint;
  std::memcpy(&fingerprint.high, digest.data(), sizeof(fingerprint.high));
  std::memcpy(&fingerprint.low, digest.data() + sizeof(fingerprint.high), sizeof(fingerprint.low));
  return fingerprint;
}

}  // namespace jobpool
