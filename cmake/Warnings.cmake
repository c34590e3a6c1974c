# Our own code is compiled with these; generated code is not.
add_library(jobpool_warnings INTERFACE)
target_compile_options(jobpool_warnings INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Otherwise a precompiled header is never found in the compiler cache.
  target_compile_options(jobpool_warnings INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
  target_compile_options(jobpool_warnings INTERFACE -Wthread-safety)
else()
  target_compile_options(jobpool_warnings INTERFACE -fpch-preprocess)
endif()
if(JOBPOOL_WERROR)
  target_compile_options(jobpool_warnings INTERFACE -Werror)
endif()
target_include_directories(jobpool_warnings INTERFACE ${PROJECT_SOURCE_DIR})
