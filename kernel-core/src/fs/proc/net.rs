//! `/proc/PID/net`: tables that are empty, as nothing but local sockets is there. Source: `proc_pid_net(5)`.

use super::system::text;
use super::tree::Item;
use Item::File;

const TCP: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const TCP6: &str = "  sl  local_address                         remote_address                        \
                    st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
                   timeout inode ref pointer drops\n";
const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
                   face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop \
                   fifo colls carrier compressed\n";
const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

pub(super) const NET: &[Item] = &[
    File("arp", |_, _| {
        text("IP address       HW type     Flags       HW address            Mask     Device\n")
    }),
    File("dev", |_, _| text(DEV)),
    File("if_inet6", |_, _| text("")),
    File("ipv6_route", |_, _| text("")),
    File("raw", |_, _| text(UDP)),
    File("route", |_, _| text(ROUTE)),
    File("tcp", |_, _| text(TCP)),
    File("tcp6", |_, _| text(TCP6)),
    File("udp", |_, _| text(UDP)),
    File("udp6", |_, _| text(TCP6)),
    File("unix", |_, _| text("Num       RefCount Protocol Flags    Type St Inode Path\n")),
];
