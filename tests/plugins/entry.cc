// What jobpool_plugin() can give that no server takes; by macros.

#include <jobpool/plugin.h>

#ifndef VERSION
#define VERSION JOBPOOL_PLUGIN_ABI_VERSION
#endif
#ifndef SIZE
#define SIZE sizeof(Plugin)
#endif
#ifndef KIND_COUNT
#define KIND_COUNT 0
#endif
#ifndef ENTRY
#define ENTRY &plugin
#endif

namespace jobpool::plugin::abi {

[[maybe_unused]] static const Kind kind = {sizeof(Kind), 0, {"fresh", 5}, nullptr, nullptr};
[[maybe_unused]] static const Kind* const kinds[] = {&kind};
[[maybe_unused]] static const Plugin plugin = {VERSION, SIZE, KIND_COUNT, kinds, {}};

extern "C" __attribute__((visibility("default"))) const Plugin* jobpool_plugin(const Server*) {
  return ENTRY;
}

}  // namespace jobpool::plugin::abi
