# Cross compiler for 64-bit Arm with the libraries that tools/arm64-sysroot.sh unpacks beside the build. The compiler
# brings its own C library; QEMU runs the result.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(MSA_SYSROOT "" CACHE PATH "Where the Arm libraries are unpacked")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MSA_SYSROOT)

set(ENV{PKG_CONFIG_SYSROOT_DIR} ${MSA_SYSROOT})
set(libraries ${MSA_SYSROOT}/usr/lib/aarch64-linux-gnu)
set(ENV{PKG_CONFIG_LIBDIR} ${libraries}/pkgconfig:${libraries}/openblas-openmp/pkgconfig)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--allow-shlib-undefined")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-Wl,--allow-shlib-undefined")
