// Kinds that a server may not take, or a failure to name them; by macros.

#include <jobpool/plugin.h>
#include <memory>
#include <stdexcept>

#ifndef FIRST
#define FIRST
#endif
#ifndef SECOND
#define SECOND
#endif

[[maybe_unused]] static void Add(jobpool::plugin::Registrar& registrar, std::string_view kind) {
  registrar.Add(kind,
                [](std::string_view, jobpool::plugin::Context&) -> jobpool::plugin::Result { return ""; });
}

JOBPOOL_PLUGIN(registrar) {
  FIRST;
  SECOND;
}
