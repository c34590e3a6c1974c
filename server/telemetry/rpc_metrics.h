#pragma once

#include <array>
#include <memory>
#include <string>

#include "server/base/clock.h"

namespace prometheus {
class Counter;
template <typename T>
class Family;
class Histogram;
class Registry;
}  // namespace prometheus

namespace jobpool {

/// The metrics of one RPC method. Thread-safe.
class MethodMetrics {
 public:
  MethodMetrics(prometheus::Counter& started, const std::array<prometheus::Counter*, 17>& handled,
                prometheus::Histogram& handling)
      : started_(started), handled_(handled), handling_(handling) {}

  void Started();
  /// `code`: a status code, 0 to 16.
  void Handled(int code, MonotonicTime start);

 private:
  prometheus::Counter& started_;
  const std::array<prometheus::Counter*, 17> handled_;
  prometheus::Histogram& handling_;
};

/// Makes the metrics of methods, each with all its series at 0. Only our own
/// methods get any: names that a client makes up never become labels.
class RpcMetrics {
 public:
  explicit RpcMetrics(prometheus::Registry& registry);

  /// `type`: unary, server_stream or bidi_stream. REQUIRES: once for each method.
  std::unique_ptr<MethodMetrics> Method(const std::string& service, const std::string& method,
                                        const std::string& type = "unary");

 private:
  prometheus::Family<prometheus::Counter>& started_;
  prometheus::Family<prometheus::Counter>& handled_;
  prometheus::Family<prometheus::Histogram>& handling_;
};

}  // namespace jobpool
