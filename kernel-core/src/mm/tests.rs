//! Address spaces on FakeHost, against a model that has an array of pages.
