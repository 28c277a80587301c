# What `cmake --install` puts where, and the package for find_package(Penstock). Included last: it looks at all targets.
#
#   bin/                       penstock-broker, penstock-worker, penstock
#   include/penstock/          client/ worker/ broker/ common/: written #include <penstock/client/client.h>
#   lib/                       penstock/ (libraries, plugins/), cmake/Penstock, systemd/system, sysusers.d
#   share/penstock/            commented configuration, the API's .proto files
#   share/doc/penstock/        documentation, an example project
include(CMakePackageConfigHelpers)

set(PENSTOCK_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Penstock)
set(PENSTOCK_DOC_DIR ${CMAKE_INSTALL_DATADIR}/doc/penstock)

# penstock_included(OUT HEADER...): HEADERs and every header of this project that they include, at any depth.
function(penstock_included out)
  set(todo ${ARGN})
  set(found)
  while(todo)
    list(POP_FRONT todo header)
    if(header IN_LIST found)
      continue()
    endif()
    list(APPEND found ${header})
    set(file ${PROJECT_SOURCE_DIR}/${header})
    if(NOT EXISTS ${file})
      set(file ${PROJECT_BINARY_DIR}/generated/${header})
    endif()
    file(STRINGS ${file} lines REGEX "^#include \"[a-z]+/")
    foreach(line ${lines})
      string(REGEX REPLACE "^#include \"([^\"]+)\".*" "\\1" included "${line}")
      if(included MATCHES "\\.pb\\.h$|^broker/|^tests/")
        message(FATAL_ERROR "${header} is public, so it must not include ${included}")
      elseif(included MATCHES "^(client|common|worker)/")
        list(APPEND todo ${included})
      endif()
    endforeach()
  endwhile()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# penstock_linked(OUT TARGET...): TARGETs and every library of this project that they link to, at any depth.
function(penstock_linked out)
  set(todo ${ARGN})
  set(found)
  while(todo)
    list(POP_FRONT todo target)
    if(target IN_LIST found)
      continue()
    endif()
    list(APPEND found ${target})
    get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
    foreach(link ${links})
      string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" link "${link}")
      if(TARGET ${link})
        get_target_property(imported ${link} IMPORTED)
        if(NOT imported)
          list(APPEND todo ${link})
        endif()
      endif()
    endforeach()
  endwhile()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# The libraries. penstock::test_broker brings the whole broker and what it links to, which few need: a component of its own.
penstock_linked(exported penstock_client penstock_worker)
penstock_linked(exported_for_tests penstock_test_broker)
list(REMOVE_ITEM exported_for_tests ${exported})
foreach(target ${exported} ${exported_for_tests})
  string(REGEX REPLACE "^penstock_" "" name ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  # The second so that our headers find each other as they do here.
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
                                                 $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/penstock>)
endforeach()
install(TARGETS ${exported} EXPORT PenstockTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/penstock)
install(EXPORT PenstockTargets NAMESPACE penstock:: DESTINATION ${PENSTOCK_CMAKE_DIR})
install(TARGETS ${exported_for_tests} EXPORT PenstockTestBrokerTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/penstock)
install(EXPORT PenstockTestBrokerTargets NAMESPACE penstock:: DESTINATION ${PENSTOCK_CMAKE_DIR})

# What users include, and what that includes.
penstock_included(headers broker/test_broker.h client/client.h client/fake_client.h
                          worker/worker.h worker/fencing.h worker/json_handler.h worker/plugin.h worker/plugin_cpp.h)
foreach(header ${headers})
  get_filename_component(folder ${header} DIRECTORY)
  set(from ${PROJECT_SOURCE_DIR})
  if(NOT EXISTS ${from}/${header})
    set(from ${PROJECT_BINARY_DIR}/generated)
  endif()
  install(FILES ${from}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/penstock/${folder})
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/PenstockConfig.cmake.in
  ${PROJECT_BINARY_DIR}/generated/PenstockConfig.cmake INSTALL_DESTINATION ${PENSTOCK_CMAKE_DIR})
# Before 1.0 a minor version may change what users compile against.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/generated/PenstockConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/generated/PenstockConfig.cmake
              ${PROJECT_BINARY_DIR}/generated/PenstockConfigVersion.cmake
  DESTINATION ${PENSTOCK_CMAKE_DIR})

# The programs. The report plug-in installs itself, beside where it is built.
foreach(program penstock-broker penstock-worker penstock)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()

# The contract, configuration to start from, units, documentation.
install(DIRECTORY proto/penstock/v1 DESTINATION ${CMAKE_INSTALL_DATADIR}/penstock/proto/penstock FILES_MATCHING PATTERN *.proto)
install(DIRECTORY deploy/ DESTINATION ${CMAKE_INSTALL_DATADIR}/penstock
  FILES_MATCHING PATTERN *.yaml PATTERN worker.yaml EXCLUDE PATTERN lib EXCLUDE PATTERN systemd EXCLUDE)
install(FILES deploy/systemd/penstock.sysusers.conf DESTINATION lib/sysusers.d RENAME penstock.conf)
# What names other installed files by their full path.
install(CODE "
  set(PLACED_SOURCE_DIR \"${PROJECT_SOURCE_DIR}\")
  set(PLACED_BINDIR \"${CMAKE_INSTALL_BINDIR}\")
  set(PLACED_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")
  set(PLACED_DATADIR \"${CMAKE_INSTALL_DATADIR}\")")
install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/PenstockPlaced.cmake)
set(documentation docs README.md CHANGELOG.md LICENSE)
foreach(document ${documentation})
  if(IS_DIRECTORY ${PROJECT_SOURCE_DIR}/${document})
    install(DIRECTORY ${document} DESTINATION ${PENSTOCK_DOC_DIR})
  elseif(EXISTS ${PROJECT_SOURCE_DIR}/${document})
    install(FILES ${document} DESTINATION ${PENSTOCK_DOC_DIR})
  endif()
endforeach()
# Where they are in the sources, so that the documents' links lead somewhere.
install(FILES deploy/README.md deploy/broker.yaml deploy/worker.yaml DESTINATION ${PENSTOCK_DOC_DIR}/deploy)
install(DIRECTORY client/examples/greetings DESTINATION ${PENSTOCK_DOC_DIR}/client/examples)
install(FILES tests/checker/README.md DESTINATION ${PENSTOCK_DOC_DIR}/tests/checker)
