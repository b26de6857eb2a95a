#pragma once

struct session {
    long user;
    long password;
};

enum { SESSIONS = 64 };

extern struct session *sessions[SESSIONS];

struct session *open_session(long at);
void close_session(long at);
