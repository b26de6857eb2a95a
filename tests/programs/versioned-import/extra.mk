DEPENDS = libdep.so

libdep.so: dep.c dep.map
	$(CC) -O1 -fPIC -shared -o $@ dep.c -Wl,-soname,libdep.so -Wl,--version-script=dep.map
