if(JOBPOOL_SANITIZE)
  add_compile_options(-fsanitize=${JOBPOOL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${JOBPOOL_SANITIZE})
endif()
