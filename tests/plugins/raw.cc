// A plug-in without the wrapper, whose kinds do what the wrapper never does.

#include <jobpool/plugin.h>
#include <stdexcept>
#include <string>
#include <string_view>

namespace jobpool::plugin::abi {
namespace {

Text TextOf(std::string_view text) { return {text.data(), text.size()}; }

void Silent(void*, const Call*, Text) {}

void Twice(void*, const Call* call, Text) {
  call->succeed(call->server, TextOf("first"));
  call->fail(call->server, 13, TextOf("second"));
}

void OddCode(void*, const Call* call, Text payload) { call->fail(call->server, 99, payload); }

void Throws(void*, const Call*, Text) { throw std::runtime_error("through the border"); }

// What the server says of itself, and whether it can be spoken to out of its bounds.
void Bounds(void*, const Call* call, Text) {
  call->log(call->server, -7, TextOf("too low"));
  call->log(call->server, 7, TextOf("too high"));
  call->set_progress(call->server, 0.5, {nullptr, 0});
  const std::string sizes = std::to_string(call->version) + " " + std::to_string(call->size >= sizeof(Call)) +
                            " " + std::to_string(call->wait_cancelled(call->server, -1));
  call->succeed(call->server, TextOf(sizes));
}

const Kind kinds[] = {
    {sizeof(Kind), 0, TextOf("raw-silent"), nullptr, &Silent},
    {sizeof(Kind), 0, TextOf("raw-twice"), nullptr, &Twice},
    {sizeof(Kind), 0, TextOf("raw-odd-code"), nullptr, &OddCode},
    {sizeof(Kind), 0, TextOf("raw-throws"), nullptr, &Throws},
    {sizeof(Kind), 0, TextOf("raw-bounds"), nullptr, &Bounds},
};
const Kind* const pointers[] = {&kinds[0], &kinds[1], &kinds[2], &kinds[3], &kinds[4]};
const Plugin plugin = {JOBPOOL_PLUGIN_ABI_VERSION, sizeof(Plugin), 5, pointers, {}};

}  // namespace

extern "C" __attribute__((visibility("default"))) const Plugin* jobpool_plugin(const Server*) {
  return &abi::plugin;
}

}  // namespace jobpool::plugin::abi
