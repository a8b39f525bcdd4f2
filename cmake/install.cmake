# What `cmake --install` lays down: the headers, both libraries, the program, and the two ways to find them.
#
#   find_package(msa)                     msa::msa, the shared library
#   find_package(msa COMPONENTS static)   msa::static besides, and what it needs in turn
#   pkg-config --cflags --libs msa        the shared library; --static for the static one
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/msa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
set_target_properties(msa_shared PROPERTIES EXPORT_NAME msa)
set_target_properties(msa_static PROPERTIES EXPORT_NAME static)
foreach(kind shared static)
  install(TARGETS msa_${kind} EXPORT msa-${kind} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT msa-${kind} NAMESPACE msa:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/msa)
endforeach()
# The run path keeps the flavour of OpenBLAS that was linked, not the one the system prefers.
set_target_properties(msa_shared PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
if(TARGET msa_program)
  set_target_properties(msa_program PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS msa_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/msaConfig.cmake.in ${PROJECT_BINARY_DIR}/msaConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/msa)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/msaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
# Not Requires.private: OpenBLAS's own file would ask a static user for a Fortran compiler's library.
list(JOIN OPENBLAS_LDFLAGS " " MSA_PC_PRIVATE)
string(APPEND MSA_PC_PRIVATE " -lpcre2-8 -ljansson")
file(RELATIVE_PATH MSA_PC_TO_PREFIX /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(${CMAKE_CURRENT_LIST_DIR}/msa.pc.in ${PROJECT_BINARY_DIR}/msa.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/msaConfig.cmake ${PROJECT_BINARY_DIR}/msaConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/msa)
install(FILES ${PROJECT_BINARY_DIR}/msa.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
