struct session {
    long user;
    long attempts;
    long level;
};
