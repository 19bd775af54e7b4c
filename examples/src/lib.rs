//! Runnable examples, in `src/bin`: a first tour, the verifier inside another program, a plain TUF client.
