DEPENDS = libside.so

libside.so: dep.c
	$(CC) $(BASE) -fPIC -shared -o $@ dep.c -Wl,--build-id=sha1 -Wl,-soname,libside.so
