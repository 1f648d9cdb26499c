# duplex_library(NAME SOURCES a.cpp ... DEPS lib ...): a static library of one layer. Includes are written
# from src/ ("wire/packet.hpp"), so an include line names its layer and tests/layers can check the arrows.
function(duplex_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
endfunction()

# duplex_test(NAME SOURCES a_test.cpp ... DEPS lib ...): a GoogleTest binary, run as one ctest entry.
function(duplex_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest_main GTest::gmock)
  target_compile_definitions(${name} PRIVATE DUPLEX_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
endfunction()

# duplex_fuzzer(NAME SOURCES a_fuzz.cpp DEPS lib ...): a libFuzzer binary; only in the fuzz preset.
function(duplex_fuzzer name)
  if(DUPLEX_FUZZ)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_DEPS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    if(NOT TARGET fuzzers)
      add_custom_target(fuzzers)
    endif()
    add_dependencies(fuzzers ${name})
  endif()
endfunction()
