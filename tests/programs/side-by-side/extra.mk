DEPENDS = libside.so

libside.so: dep.c
	$(CC) $(BASE) -fPIC -c -o dep.o dep.c
	$(CC) -shared -o $@ dep.o -Wl,--build-id=sha1 -Wl,-soname,libside.so
