package api

// Version is the version of LXD whose API this is.
const Version = "6.7"
