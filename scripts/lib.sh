# Sourced by the other scripts: what they share.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# So that the cache serves every checkout, wherever it lies.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
# What ccache asks for where there are precompiled headers (its manual, the section on them).
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime

# build PRESET [CMAKE_ARGUMENT...] [-- TARGET...]: configures and builds, quietly unless it fails.
build() {
  local preset=$1 log arguments=()
  shift
  while (($#)) && [[ $1 != -- ]]; do arguments+=("$1"); shift; done
  (($#)) && shift
  log=$(mktemp)
  if ! { cmake --preset "$preset" "${arguments[@]}" && cmake --build --preset "$preset" ${@:+--target "$@"}; } >"$log" 2>&1
  then
    grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking|Generating|Running)' "$log" | tail -60 >&2
    echo "building $preset failed" >&2
    return 1
  fi
  rm -f "$log"
}
