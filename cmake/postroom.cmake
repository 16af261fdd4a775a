# Functions that give every folder its library, tests and executables.
#
# A folder calls one of them from its own CMakeLists.txt with the link edges that
# docs allow (CONTRIBUTING.md, "Layers"). Sources are globbed with CONFIGURE_DEPENDS,
# so a new .c file needs no edit. A folder without .c files yet gives an INTERFACE
# library of the same name: whoever links it configures all the same.

# postroom_library(<name> ROOT <include root> [EXCLUDE <file>...] LINK <targets>...)
function(postroom_library name)
	cmake_parse_arguments(P "" "ROOT" "EXCLUDE;LINK" ${ARGN})
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
	foreach(file IN LISTS P_EXCLUDE)
		list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${file})
	endforeach()
	if(sources)
		add_library(${name} STATIC ${sources})
		target_include_directories(${name} PUBLIC ${P_ROOT})
		target_link_libraries(${name} PUBLIC ${P_LINK} PRIVATE postroom_flags)
	else()
		add_library(${name} INTERFACE)
		target_include_directories(${name} INTERFACE ${P_ROOT})
		target_link_libraries(${name} INTERFACE ${P_LINK})
	endif()
endfunction()

# postroom_program(<library> <executable>): main.c of the folder with its library.
function(postroom_program library name)
	if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/main.c)
		add_executable(${name} main.c)
		target_link_libraries(${name} PRIVATE ${library} postroom_flags)
		set_target_properties(${name} PROPERTIES
			RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
	endif()
endfunction()

# postroom_unit_tests(<folder> <libraries>...): one cmocka binary for each
# tests/unit/<folder>/test_*.c, named <folder>_test_<file>, registered with ctest.
function(postroom_unit_tests folder)
	file(GLOB sources CONFIGURE_DEPENDS
		${CMAKE_SOURCE_DIR}/tests/unit/${folder}/test_*.c)
	foreach(source IN LISTS sources)
		get_filename_component(stem ${source} NAME_WE)
		set(target ${folder}_${stem})
		add_executable(${target} ${source})
		target_link_libraries(${target} PRIVATE
			postroom_testlib ${ARGN} PkgConfig::CMOCKA postroom_flags)
		target_include_directories(${target} PRIVATE
			${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
		target_compile_definitions(${target} PRIVATE
			POSTROOM_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
			POSTROOM_BUILD_DIR="${CMAKE_BINARY_DIR}")
		set_target_properties(${target} PROPERTIES
			RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
		add_dependencies(unit_all ${target})
		if(folder MATCHES "^(base|net|store)$")
			add_dependencies(unit_threads ${target})
		endif()
		add_test(NAME unit.${folder}.${stem} COMMAND ${target})
		set_tests_properties(unit.${folder}.${stem} PROPERTIES
			TIMEOUT 240 LABELS unit)
	endforeach()
endfunction()
