# What `cmake --install` puts in place: the programs, their manual pages, completion for bash, and what plug-ins are built
# with: find_package(jobpool) gives the target jobpool::plugin.
set(man ${CMAKE_BINARY_DIR}/man)
set(completion ${CMAKE_BINARY_DIR}/completion/jobpool)
foreach(page jobpool.1 jobpoold.8)
  get_filename_component(program ${page} NAME_WLE)
  get_filename_component(section ${page} LAST_EXT)
  string(SUBSTRING ${section} 1 -1 section)
  add_custom_command(OUTPUT ${man}/${page}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${man}
    COMMAND ${PROJECT_SOURCE_DIR}/scripts/make_man $<TARGET_FILE:${program}> ${section} > ${man}/${page}
    DEPENDS ${program} ${PROJECT_SOURCE_DIR}/scripts/make_man
    COMMENT "Making ${page}"
    VERBATIM)
  list(APPEND pages ${man}/${page})
endforeach()
add_custom_command(OUTPUT ${completion}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/completion
  COMMAND jobpool completion bash > ${completion}
  DEPENDS jobpool
  COMMENT "Making the completion for bash"
  VERBATIM)
add_custom_target(man ALL DEPENDS ${pages} ${completion})

install(TARGETS jobpool jobpoold)
install(FILES ${man}/jobpool.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${man}/jobpoold.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES ${completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_DATADIR}/cmake/jobpool)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/jobpool-config-version.cmake
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(TARGETS jobpool_plugin EXPORT jobpool)
install(EXPORT jobpool NAMESPACE jobpool:: FILE jobpool-config.cmake DESTINATION ${package})
install(FILES ${CMAKE_BINARY_DIR}/jobpool-config-version.cmake DESTINATION ${package})
install(FILES ${PROJECT_SOURCE_DIR}/include/jobpool/plugin.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/jobpool)
