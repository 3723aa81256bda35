//! Recorded on Linux 6.18: each case is a new pseudoterminal, driven through master and slave.

use linux_raw_sys::general as sys;

use super::Case;
use super::Step::{Control, In, Input, Local, Output, Read, Readable, Write};

/// The cases.
pub(super) const RECORDED: &[Case] = &[
    Case {
        name: "a line is read when it is complete",
        steps: &[
            In(b"ab", b"ab", &[]),
            Read(4096, None),
            In(b"c\n", b"c\r\n", &[]),
            Readable(4),
            Read(4096, Some(b"abc\n")),
            Read(4096, None),
        ],
    },
    Case {
        name: "a long line is read in parts",
        steps: &[
            In(b"abcdef\nxy\n", b"abcdef\r\nxy\r\n", &[]),
            Read(4, Some(b"abcd")),
            Readable(6),
            Read(10, Some(b"ef\n")),
            Read(10, Some(b"xy\n")),
        ],
    },
    Case {
        name: "erase a character",
        steps: &[
            In(b"ab\x7fc\x7f\x7f\x7f\x7fd\n", b"ab\x08 \x08c\x08 \x08\x08 \x08d\r\n", &[]),
            Read(4096, Some(b"d\n")),
        ],
    },
    Case {
        name: "erase a control character",
        steps: &[
            In(b"a\x01\x7f\x7fb\n", b"a^A\x08 \x08\x08 \x08\x08 \x08b\r\n", &[]),
            Read(4096, Some(b"b\n")),
        ],
    },
    Case {
        name: "erase a tab",
        steps: &[
            In(b"ab\tc\td\x7f\x7f\x7f\x7fz\x7f\x7f", b"ab\tc\td\x08 \x08\x08\x08\x08\x08\x08\x08\x08\x08 \x08\x08\x08\x08\x08\x08\x08z\x08 \x08\x08 \x08", &[]),
            Write(b"pr: ", b"pr: "),
            In(b"\x15a\t\x7f\x7f\x7f", b"\x08 \x08a\t\x08\x08\x08\x08 \x08", &[]),
            In(b"\t\t\x7f\x7f", b"\t\t\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08", &[]),
            In(b"\x01\t\x7f\n", b"^A\t\x08\x08\r\n", &[]),
            Read(4096, Some(b"\x01\n")),
        ],
    },
    Case {
        name: "erase a tab after a prompt",
        steps: &[
            Write(b"12345> ", b"12345> "),
            In(b"ab\t\x7fc\t\td\x7f\x7f\x7f\n", b"ab\t\x08\x08\x08\x08\x08\x08\x08c\t\td\x08 \x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\r\n", &[]),
            Read(4096, Some(b"abc\n")),
        ],
    },
    Case {
        name: "erase UTF-8",
        steps: &[
            Input(sys::IUTF8, 0),
            In(b"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", b"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", &[]),
            In(b"\x7f", b"\x08 \x08", &[]),
            In(b"\x7f", b"\x08 \x08", &[]),
            In(b"\x7f", b"\x08 \x08", &[]),
            In(b"\n", b"\r\n", &[]),
            Read(4096, Some(b"a\n")),
            In(b"\x80\x81\x7fx\x7f\x7f\n", b"\x80\x81x\x08 \x08\r\n", &[]),
            Read(4096, Some(b"\x80\x81\n")),
        ],
    },
    Case {
        name: "erase a word",
        steps: &[
            In(b"foo  bar_1.baz  \x17", b"foo  bar_1.baz  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08", &[]),
            In(b"\x17\x17", b"\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08", &[]),
            In(b"\x17\x17\n", b"\r\n", &[]),
            Read(4096, Some(b"\n")),
        ],
    },
    Case {
        name: "erase a word of Latin-1 letters",
        steps: &[
            In(b"a \xe9\xd7\xc0\x17", b"a \xe9\xd7\xc0\x08 \x08", &[]),
            In(b"\x17\n", b"\x08 \x08\x08 \x08\r\n", &[]),
            Read(4096, Some(b"a \n")),
        ],
    },
    Case {
        name: "kill with ECHOKE",
        steps: &[
            In(b"ab\x01c\t\x15", b"ab^Ac\t\x08\x08\x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08", &[]),
            In(b"\x15x\n", b"x\r\n", &[]),
            Read(4096, Some(b"x\n")),
        ],
    },
    Case {
        name: "kill without ECHOKE",
        steps: &[
            Local(0, sys::ECHOKE),
            In(b"abc\x15", b"abc^U\r\n", &[]),
            In(b"x\n", b"x\r\n", &[]),
            Read(4096, Some(b"x\n")),
        ],
    },
    Case {
        name: "kill without ECHOK",
        steps: &[
            Local(0, sys::ECHOK),
            In(b"abc\x15x\n", b"abc^Ux\r\n", &[]),
            Read(4096, Some(b"x\n")),
        ],
    },
    Case {
        name: "kill without ECHO",
        steps: &[
            Local(0, sys::ECHO),
            In(b"abc\x15x\x7fy\n", b"", &[]),
            Read(4096, Some(b"y\n")),
        ],
    },
    Case {
        name: "erase without ECHOE",
        steps: &[
            Local(0, sys::ECHOE),
            In(b"abc\x7f\x17\x15x\n", b"abc^?\x08 \x08\x08 \x08x\r\n", &[]),
            Read(4096, Some(b"x\n")),
        ],
    },
    Case {
        name: "control characters without ECHOCTL",
        steps: &[
            Local(0, sys::ECHOCTL),
            In(b"a\x01\x1b\x7f\x7fb\x16\x03\x04", b"a\x01\x1bb\x03", &[]),
            Read(4096, Some(b"ab\x03")),
            In(b"\x03", b"\x03", &[2]),
        ],
    },
    Case {
        name: "ECHOPRT",
        steps: &[
            Local(sys::ECHOPRT, 0),
            In(b"abc\x7f\x7fd\x7f\x17x\n", b"abc\\cb/d\\da/x\r\n", &[]),
            Read(4096, Some(b"x\n")),
            In(b"ab\x15", b"ab\\ba/", &[]),
            In(b"q\x7f\x16z\n", b"q\\q/^\x08z\r\n", &[]),
            Read(4096, Some(b"z\n")),
        ],
    },
    Case {
        name: "ECHOPRT with UTF-8",
        steps: &[
            Local(sys::ECHOPRT, 0),
            Input(sys::IUTF8, 0),
            In(b"a\xc3\xa9\x7f\x7f\t\x7f\n", b"a\xc3\xa9\\\xc3\xa9a/\t\\\t/\r\n", &[]),
            Read(4096, Some(b"\n")),
        ],
    },
    Case {
        name: "ECHONL without ECHO",
        steps: &[
            Local(sys::ECHONL, sys::ECHO),
            In(b"abc\n", b"\r\n", &[]),
            Read(4096, Some(b"abc\n")),
        ],
    },
    Case {
        name: "reprint",
        steps: &[
            In(b"ab\x01\tc\x12", b"ab^A\tc^R\r\nab^A\tc", &[]),
            In(b"\x7f\x7f\x7f\n", b"\x08 \x08\x08\x08\x08\x08\x08 \x08\x08 \x08\r\n", &[]),
            Read(4096, Some(b"ab\n")),
        ],
    },
    Case {
        name: "reprint without ECHO is data",
        steps: &[
            Local(0, sys::ECHO),
            In(b"a\x12b\n", b"", &[]),
            Read(4096, Some(b"a\x12b\n")),
        ],
    },
    Case {
        name: "literal next",
        steps: &[
            In(b"a\x16\x03b\x16\x04\x16\x7f\x16\n", b"a^\x08^Cb^\x08^D^\x08^?^\x08^J", &[]),
            In(b"\n", b"\r\n", &[]),
            Read(4096, Some(b"a\x03b\x04\x7f\n\n")),
        ],
    },
    Case {
        name: "literal next erased",
        steps: &[
            In(b"a\x16\x16\x7f\x7fb\x16\x15\x7f\n", b"a^\x08^V\x08 \x08\x08 \x08\x08 \x08b^\x08^U\x08 \x08\x08 \x08\r\n", &[]),
            Read(4096, Some(b"b\n")),
        ],
    },
    Case {
        name: "literal next without IEXTEN is data",
        steps: &[
            Local(0, sys::IEXTEN),
            In(b"a\x16b\x17\n", b"a^Vb^W\r\n", &[]),
            Read(4096, Some(b"a\x16b\x17\n")),
        ],
    },
    Case {
        name: "literal carriage return stays",
        steps: &[
            In(b"a\x16\rb\r", b"a^\x08^Mb\r\n", &[]),
            Read(4096, Some(b"a\rb\n")),
        ],
    },
    Case {
        name: "end of file",
        steps: &[
            In(b"\x04", b"", &[]),
            Readable(0),
            Read(4096, Some(b"")),
            Read(4096, None),
        ],
    },
    Case {
        name: "end of file in mid-line",
        steps: &[
            In(b"abc\x04", b"abc", &[]),
            Readable(3),
            Read(4096, Some(b"abc")),
            Read(4096, None),
            In(b"de\x04f\n", b"def\r\n", &[]),
            Readable(4),
            Read(4096, Some(b"de")),
            Read(4096, Some(b"f\n")),
            Read(4096, None),
        ],
    },
    Case {
        name: "end of file behind a full read is skipped",
        steps: &[
            In(b"abc\x04de\n", b"abcde\r\n", &[]),
            Read(3, Some(b"abc")),
            Read(4096, Some(b"de\n")),
        ],
    },
    Case {
        name: "end of file behind a shorter read",
        steps: &[
            In(b"abc\x04de\n", b"abcde\r\n", &[]),
            Read(2, Some(b"ab")),
            Read(2, Some(b"c")),
            Read(4096, Some(b"de\n")),
        ],
    },
    Case {
        name: "two ends of file",
        steps: &[
            In(b"a\x04\x04b\n", b"ab\r\n", &[]),
            Read(4096, Some(b"a")),
            Read(4096, Some(b"")),
            Read(4096, Some(b"b\n")),
            Read(4096, None),
        ],
    },
    Case {
        name: "line ends VEOL and VEOL2",
        steps: &[
            Control(sys::VEOL, 0x3b),
            Control(sys::VEOL2, 0x7c),
            In(b"a;b|c\n", b"a;b|c\r\n", &[]),
            Read(4096, Some(b"a;")),
            Read(4096, Some(b"b|")),
            Read(4096, Some(b"c\n")),
        ],
    },
    Case {
        name: "VEOL2 without IEXTEN is data",
        steps: &[
            Local(0, sys::IEXTEN),
            Control(sys::VEOL2, 0x7c),
            In(b"b|c\n", b"b|c\r\n", &[]),
            Read(4096, Some(b"b|c\n")),
        ],
    },
    Case {
        name: "ICRNL",
        steps: &[
            In(b"a\rb\n", b"a\r\nb\r\n", &[]),
            Read(4096, Some(b"a\n")),
            Read(4096, Some(b"b\n")),
        ],
    },
    Case {
        name: "INLCR",
        steps: &[
            Input(sys::INLCR, sys::ICRNL),
            In(b"a\nb", b"a^Mb", &[]),
            Read(4096, None),
            Control(sys::VEOL, 0x0d),
            In(b"c\n", b"c^M", &[]),
            Read(4096, Some(b"a\rbc\r")),
        ],
    },
    Case {
        name: "IGNCR",
        steps: &[
            Input(sys::IGNCR, 0),
            In(b"a\rb\n", b"ab\r\n", &[]),
            Read(4096, Some(b"ab\n")),
        ],
    },
    Case {
        name: "no mapping of carriage returns",
        steps: &[
            Input(0, sys::ICRNL),
            In(b"a\rb\n", b"a^Mb\r\n", &[]),
            Read(4096, Some(b"a\rb\n")),
        ],
    },
    Case {
        name: "ISTRIP",
        steps: &[
            Input(sys::ISTRIP, 0),
            In(b"\xe1\xe2\x8a", b"ab\r\n", &[]),
            Read(4096, Some(b"ab\n")),
        ],
    },
    Case {
        name: "IUCLC",
        steps: &[
            Input(sys::IUCLC, 0),
            In(b"AbC\xc4\n", b"abc\xe4\r\n", &[]),
            Read(4096, Some(b"abc\xe4\n")),
        ],
    },
    Case {
        name: "raw",
        steps: &[
            Local(0, sys::ICANON | sys::ECHO | sys::ISIG | sys::IEXTEN),
            Input(0, sys::IXON | sys::ICRNL),
            In(b"a\x03\x04\r\n\x7f", b"", &[]),
            Readable(6),
            Read(3, Some(b"a\x03\x04")),
            Read(4096, Some(b"\r\n\x7f")),
            Read(4096, None),
        ],
    },
    Case {
        name: "raw with echo",
        steps: &[
            Local(0, sys::ICANON),
            In(b"a\x01\x7f\x04\x15\n\r", b"a^A^?^D^U^J\r\n", &[]),
            Read(4096, Some(b"a\x01\x7f\x04\x15\n\n")),
        ],
    },
    Case {
        name: "raw with signals",
        steps: &[
            Local(0, sys::ICANON),
            In(b"ab", b"ab", &[]),
            In(b"\x03cd", b"^Ccd", &[2]),
            Read(4096, Some(b"cd")),
        ],
    },
    Case {
        name: "signals",
        steps: &[
            In(b"ab", b"ab", &[]),
            In(b"\x03", b"^C", &[2]),
            In(b"q", b"q", &[]),
            In(b"\x1c", b"^\\", &[3]),
            In(b"\x1a", b"^Z", &[20]),
            In(b"x\n", b"x\r\n", &[]),
            Read(4096, Some(b"x\n")),
        ],
    },
    Case {
        name: "signals flush input",
        steps: &[
            In(b"line\nab", b"line\r\nab", &[]),
            In(b"\x03cd\n", b"^Ccd\r\n", &[2]),
            Read(4096, Some(b"cd\n")),
            Read(4096, None),
        ],
    },
    Case {
        name: "signals with NOFLSH",
        steps: &[
            Local(sys::NOFLSH, 0),
            In(b"line\nab\x03cd\n", b"line\r\nab^Ccd\r\n", &[2]),
            Read(4096, Some(b"line\n")),
            Read(4096, Some(b"abcd\n")),
        ],
    },
    Case {
        name: "signals without ECHO",
        steps: &[
            Local(0, sys::ECHO),
            In(b"ab\x03c\n", b"", &[2]),
            Read(4096, Some(b"c\n")),
        ],
    },
    Case {
        name: "no ISIG",
        steps: &[
            Local(0, sys::ISIG),
            In(b"a\x03\x1c\x1a\n", b"a^C^\\^Z\r\n", &[]),
            Read(4096, Some(b"a\x03\x1c\x1a\n")),
        ],
    },
    Case {
        name: "disabled characters",
        steps: &[
            Control(sys::VINTR, 0x00),
            Control(sys::VERASE, 0x00),
            Control(sys::VEOF, 0x00),
            In(b"a\x00\x03\x7f\x04\n", b"a^@^C^?^D\r\n", &[]),
            Read(4096, Some(b"a\x00\x03\x7f\x04\n")),
        ],
    },
    Case {
        name: "stop and start",
        steps: &[
            In(b"a", b"a", &[]),
            In(b"\x13", b"", &[]),
            In(b"bc\x7f", b"", &[]),
            In(b"\x11", b"bc\x08 \x08", &[]),
            In(b"\n", b"\r\n", &[]),
            Read(4096, Some(b"ab\n")),
        ],
    },
    Case {
        name: "any character starts with IXANY",
        steps: &[
            Input(sys::IXANY, 0),
            In(b"\x13", b"", &[]),
            In(b"ab", b"ab", &[]),
            Write(b"x", b"x"),
            In(b"\x13", b"", &[]),
            In(b"\n", b"\r\n", &[]),
            Read(4096, Some(b"ab\n")),
        ],
    },
    Case {
        name: "signals start",
        steps: &[
            In(b"\x13ab", b"", &[]),
            In(b"\x03", b"^C", &[2]),
            Write(b"x", b"x"),
        ],
    },
    Case {
        name: "switching IXON off starts",
        steps: &[
            In(b"\x13ab", b"", &[]),
            Input(0, sys::IXON),
            Write(b"x", b"abx"),
            In(b"\x13\n", b"^S\r\n", &[]),
            Read(4096, Some(b"ab\x13\n")),
        ],
    },
    Case {
        name: "output is processed",
        steps: &[
            Write(b"a\nb\tc\r\n", b"a\r\nb\tc\r\r\n"),
            Output(sys::ONOCR, 0),
            Write(b"\r\rx\r\r", b"x\r"),
            Output(sys::OCRNL, 0),
            Write(b"y\rz", b"y\nz"),
            Output(sys::OLCUC, 0),
            Write(b"ab\xe9", b"AB\xc9"),
        ],
    },
    Case {
        name: "tabs expand by column",
        steps: &[
            Output(sys::XTABS, 0),
            Write(b"a\tb\x08\tc\n\td\r\te\x01\tf", b"a       b\x08        c\r\n        d\r        e\x01       f"),
        ],
    },
    Case {
        name: "tabs expand behind UTF-8",
        steps: &[
            Output(sys::XTABS, 0),
            Input(sys::IUTF8, 0),
            Write(b"\xc3\xa4\xe2\x82\xac\tx", b"\xc3\xa4\xe2\x82\xac      x"),
        ],
    },
    Case {
        name: "echoes move the column",
        steps: &[
            Output(sys::XTABS, 0),
            In(b"ab\x01\t", b"ab^A    ", &[]),
            Write(b"x\ty", b"x       y"),
            In(b"\xff\t", b"\xff      ", &[]),
            In(b"\x7f\x7f", b"\x08\x08\x08\x08\x08\x08\x08\x08 \x08", &[]),
        ],
    },
    Case {
        name: "without ONLCR a newline keeps the column",
        steps: &[
            Output(sys::XTABS, sys::ONLCR),
            Write(b"abc\n\tx", b"abc\n     x"),
            Output(sys::ONLRET, 0),
            Write(b"abc\n\tx", b"abc\n        x"),
        ],
    },
    Case {
        name: "without OPOST",
        steps: &[
            Output(0, sys::OPOST),
            Write(b"a\n\tb", b"a\n\tb"),
            In(b"a\n\t\x7f\x01\x7f", b"a\n\t\x08\x08\x08\x08\x08\x08\x08\x08^A\x08 \x08\x08 \x08", &[]),
        ],
    },
    Case {
        name: "PARMRK doubles 0xff",
        steps: &[
            Input(sys::PARMRK, 0),
            In(b"a\xffb\n", b"a\xffb\r\n", &[]),
            Read(4096, Some(b"a\xff\xffb\n")),
            Local(0, sys::ICANON),
            In(b"\xff", b"\xff", &[]),
            Read(4096, Some(b"\xff\xff")),
        ],
    },
    Case {
        name: "from canonical to raw",
        steps: &[
            In(b"ab\x04cd", b"abcd", &[]),
            Local(0, sys::ICANON),
            Readable(5),
            Read(4096, Some(b"ab\x00cd")),
        ],
    },
    Case {
        name: "from raw to canonical",
        steps: &[
            Local(0, sys::ICANON),
            In(b"abc", b"abc", &[]),
            Local(sys::ICANON, 0),
            Readable(3),
            Read(2, Some(b"ab")),
            Read(4096, Some(b"c")),
            In(b"\n", b"\r\n", &[]),
            Read(4096, Some(b"\n")),
            Read(4096, None),
        ],
    },
    Case {
        name: "from raw to canonical with more",
        steps: &[
            Local(0, sys::ICANON),
            In(b"abc", b"abc", &[]),
            Local(sys::ICANON, 0),
            In(b"d\x7f\x7f\x7fe\n", b"d\x08 \x08e\r\n", &[]),
            Read(4096, Some(b"abc")),
            Read(4096, Some(b"e\n")),
        ],
    },
    Case {
        name: "newline echo in mid-edit",
        steps: &[
            In(b"a\tb\n\tc\x7f\x7f", b"a\tb\r\n\tc\x08 \x08\x08\x08\x08\x08\x08\x08\x08\x08", &[]),
            Write(b"zz", b"zz"),
            In(b"q\t\x7f\x7f", b"q\t\x08\x08\x08\x08\x08\x08 \x08", &[]),
        ],
    },
    Case {
        name: "erase over a line start at a column",
        steps: &[
            Write(b"abc", b"abc"),
            In(b"\t\t\x7f\x7f", b"\t\t\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08", &[]),
            In(b"x\t\x7f", b"x\t\x08\x08\x08\x08", &[]),
        ],
    },
    Case {
        name: "a signal takes back echoes that came with it",
        steps: &[
            In(b"ab\x03cd\n", b"^Ccd\r\n", &[2]),
            Read(4096, Some(b"cd\n")),
        ],
    },
    Case {
        name: "a stop holds back echoes that came with it",
        steps: &[
            In(b"a\x13b", b"", &[]),
            In(b"\x11", b"ab", &[]),
            In(b"\tc\x03\t", b"^C\t", &[2]),
        ],
    },
];
