/* Types of the calendar. Programs bring the functions that they need. */
#ifndef TINYVMM_TIME_H
#define TINYVMM_TIME_H

typedef long time_t;

struct tm {
    int tm_sec;
    int tm_min;
    int tm_hour;
    int tm_mday;
    int tm_mon;
    int tm_year;
    int tm_wday;
    int tm_yday;
    int tm_isdst;
};

#endif
