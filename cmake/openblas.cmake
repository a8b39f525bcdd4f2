# OpenBLAS in its OpenMP flavour: our threads and its threads must be one team. Debian lets a link of
# /etc/alternatives choose among three flavours; this takes the right one by name where it is installed, and the
# run path that comes with it makes the loader take it too.
foreach(dir /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp/pkgconfig /usr/lib64/openblas-openmp/pkgconfig)
  if(EXISTS ${dir}/openblas.pc AND NOT CMAKE_CROSSCOMPILING)
    set(OPENBLAS_PKG_CONFIG_PATH ${dir})
    set(ENV{PKG_CONFIG_PATH} "${dir}:$ENV{PKG_CONFIG_PATH}")
    break()
  endif()
endforeach()
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
