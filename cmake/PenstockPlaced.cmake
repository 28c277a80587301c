# Installs what names other installed files by their full path, which is known only now: the units, and worker.yaml with its
# plug-in. Run by `cmake --install`, and by tests/install/units_test.py with cmake -P; needs
#
#   CMAKE_INSTALL_PREFIX, and $ENV{DESTDIR} as always
#   PLACED_SOURCE_DIR                                this project
#   PLACED_BINDIR PLACED_LIBDIR PLACED_DATADIR       below the prefix

# placed_write(TO TEXT): writes TEXT to TO below the prefix.
function(placed_write to text)
  message(STATUS "Installing: $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${to}")
  file(WRITE "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${to}" "${text}")
endfunction()

# In a unit, the command stands in quotes, so that a blank does not end it; % would begin a specifier. (A command whose path
# has quotes or backslashes itself is refused by systemd, however they are written.)
string(REPLACE "%" "%%" bin "${CMAKE_INSTALL_PREFIX}/${PLACED_BINDIR}")
# Documentation= is a list of URIs.
string(REPLACE "%" "%25" doc "${CMAKE_INSTALL_PREFIX}/${PLACED_DATADIR}/doc")
string(REPLACE " " "%20" doc "${doc}")
string(REPLACE "%" "%%" doc "${doc}")
file(GLOB units "${PLACED_SOURCE_DIR}/deploy/systemd/*.service")
foreach(unit IN LISTS units)
  file(READ "${unit}" text)
  string(REGEX REPLACE "/usr/bin/(penstock-[a-z]+)" "\"@BIN@/\\1\"" text "${text}")
  string(REPLACE "@BIN@" "${bin}" text "${text}")
  string(REPLACE "/usr/share/doc" "${doc}" text "${text}")
  get_filename_component(name "${unit}" NAME)
  placed_write("lib/systemd/system/${name}" "${text}")
endforeach()

# In YAML's single quotes only the quote itself is special.
string(REPLACE "'" "''" lib "${CMAKE_INSTALL_PREFIX}/${PLACED_LIBDIR}")
file(READ "${PLACED_SOURCE_DIR}/deploy/worker.yaml" text)
string(REGEX REPLACE "/usr/lib/(penstock/plugins/[^ \n]+)" "'@LIB@/\\1'" text "${text}")
string(REPLACE "@LIB@" "${lib}" text "${text}")
placed_write("${PLACED_DATADIR}/penstock/worker.yaml" "${text}")
