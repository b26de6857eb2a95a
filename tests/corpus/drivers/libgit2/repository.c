/* Repositories on the disk: trees and commits, an index with directories that turn into files, and
 * revisions by every way of naming them.
 *
 * object: libgit2.so.1.5*
 * link: -lgit2
 */
#include "driver.h"

#include <git2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static _Thread_local git_repository *repository;

static int add(git_index *index, const char *path, const git_oid *blob) {
    git_index_entry entry = {.mode = GIT_FILEMODE_BLOB, .path = path};
    git_oid_cpy(&entry.id, blob);
    return git_index_add(index, &entry);
}

static void use_index(const git_oid *blob) {
    static const char *const paths[] = {"a/b/c", "a/b/d", "a/e", "f", "a/b",
                                        "z/y/x", "z",     "f/g", "a", "aa/b"};
    git_index *index = NULL;
    git_index_new(&index);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (add(index, paths[i], blob)) driver_fail("%s is not added", paths[i]);
    if (git_index_entrycount(index) < 3 || git_index_get_bypath(index, "a/e", 0))
        driver_fail("an index of %zu entries", git_index_entrycount(index));
    git_index_free(index);
}

static int commit_all(git_oid *made, git_index *index, int parents, const git_commit **parent) {
    git_oid tree_id;
    git_tree *tree = NULL;
    git_signature *author = NULL;
    int bad = git_index_write_tree_to(&tree_id, index, repository) ||
              git_tree_lookup(&tree, repository, &tree_id) ||
              git_signature_new(&author, "naht", "n@naht.test", 1000000000, 0) ||
              git_commit_create(made, repository, "HEAD", author, author, NULL, "a message", tree,
                                (size_t)parents, parent);
    git_signature_free(author);
    git_tree_free(tree);
    return bad;
}

static void open_repository(void) {
    char path[80];
    git_oid blob, first, second;
    git_index *index = NULL;
    git_commit *parent = NULL;
    snprintf(path, sizeof path, "/tmp/naht-git-%lx", (long)pthread_self());
    if (git_repository_init(&repository, path, 1)) {
        driver_fail("no repository");
        return;
    }
    git_blob_create_from_buffer(&blob, repository, "text", 4);
    git_index_new(&index);
    add(index, "a/b", &blob);
    if (commit_all(&first, index, 0, NULL) || git_commit_lookup(&parent, repository, &first))
        driver_fail("no commit");
    add(index, "c", &blob);
    if (commit_all(&second, index, 1, (const git_commit **)&parent))
        driver_fail("no second commit");
    git_commit_free(parent);
    git_index_free(index);
}

static void use_revisions(void) {
    static const char *const good[] = {
        "HEAD",   "HEAD~1",          "HEAD^",     "HEAD^{tree}",     "HEAD:a/b",
        "HEAD^0", "HEAD~1^{commit}", ":/message", "HEAD^{/message}", "@{0}"};
    static const char *const bad[] = {"HEAD~7", "HEAD:none",   "none",
                                      "HEAD^{", "HEAD^{blob}", "@@{1"};
    git_object *found = NULL;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (git_revparse_single(&found, repository, good[i]))
            driver_fail("%s is not found", good[i]);
        git_object_free(found);
        found = NULL;
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!git_revparse_single(&found, repository, bad[i])) driver_fail("%s is found", bad[i]);
        git_object_free(found);
        found = NULL;
    }
}

void setup(void) { git_libgit2_init(); }

void exercise(void) {
    git_oid blob;
    if (!repository) open_repository();
    git_odb_hash(&blob, "text", 4, GIT_OBJECT_BLOB);
    use_index(&blob);
    use_revisions();
}
