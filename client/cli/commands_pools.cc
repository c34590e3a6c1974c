// `pools list|get`.

#include <memory>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/pool_text.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {
namespace {

ExitStatus ListPools(Session& session) {
  const absl::StatusOr<v1::ListPoolsResponse> response =
      AllPages(v1::ListPoolsRequest(),
               [&](const v1::ListPoolsRequest& page) { return session.client.ListPools(page, Soon()); });
  if (!response.ok()) return Report(response.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*response);
    case OutputFormat::kName:
      for (const v1::Pool& pool : response->pools()) Print(absl::StrCat(pool.name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(PoolsTable(*response));
      break;
  }
  return ExitStatus::kDone;
}

ExitStatus GetPool(Session& session, const std::string& name) {
  v1::GetPoolRequest request;
  request.set_name(ResourceName("pools", name));
  const absl::StatusOr<v1::Pool> pool = session.client.GetPool(request, Soon());
  if (!pool.ok()) return Report(pool.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*pool);
    case OutputFormat::kName:
      Print(absl::StrCat(pool->name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(PoolDetails(*pool));
      break;
  }
  return ExitStatus::kDone;
}

}  // namespace

void AddPoolsCommands(CLI::App& app, Command& chosen) {
  CLI::App* pools =
      AddCommand(app, "pools", "Look at the pools; alone: list", "Example:\n  jobpool pools get compute");
  pools->preparse_callback([&chosen](size_t) { chosen = ListPools; });

  AddCommand(*pools, "list", "List the pools", "Example:\n  jobpool pools list")->callback([&chosen] {
    chosen = ListPools;
  });

  CLI::App* get = AddCommand(*pools, "get", "Show all about a pool", "Example:\n  jobpool pools get compute");
  auto name = std::make_shared<std::string>();
  AddNames(*get, *name, "pools", "Pool: pools/NAME, or the bare NAME");
  get->callback([name, &chosen] { chosen = [name](Session& session) { return GetPool(session, *name); }; });
}

}  // namespace jobpool::cli
