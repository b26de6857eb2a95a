struct session {
    long user;
    long level;
};
