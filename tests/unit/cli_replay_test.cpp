// `shunt replay`: a verdict for every packet of a capture, by the packet path itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controlplane/cli/verb.h"
#include "dataplane/ports/capture_port.h"
#include "src/base/random.h"
#include "tests/support/packets.h"
#include "tests/support/temporary_directory.h"

namespace shunt::cli {
namespace {

using dataplane::CaptureReader;
using dataplane::CaptureWriter;
using nlohmann::json;
using test::Bytes;
using test::packet;

constexpr const char* two_services = R"(version = 1
[[dataplane.port]]
name = "lan0"
af_xdp = "eth1"
[[next_hop]]
address = "198.18.1.1"
prefix = ["0.0.0.0/0", "::/0"]
mac = "02:00:00:00:00:fe"
port = "lan0"
[[next_hop]]
address = "198.18.2.11"
mac = "02:00:00:00:0b:0b"
port = "lan0"
[[next_hop]]
address = "198.18.2.12"
mac = "02:00:00:00:0b:0c"
port = "lan0"
[[next_hop]]
address = "2001:db8:2::21"
mac = "02:00:00:00:0b:21"
port = "lan0"
[[service]]
name = "web"
vip = ["198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"]
[[service.backend]]
address = "198.18.2.11"
port = 8080
[[service.backend]]
address = "198.18.2.12"
port = 8080
[[service.backend]]
address = "2001:db8:2::21"
port = 8080
[[service]]
name = "idle"
vip = ["198.18.0.11:53/udp"]
[[service.backend]]
address = "198.18.2.11"
port = 53
state = "drain"
)";

struct Outcome {
    int code{};
    std::string out{};
    std::string err{};

    json document() const { return json::parse(out); }
};

class Replaying : public testing::Test {
  protected:
    Replaying() { configure(two_services); }

    std::string path(const std::string& name) const { return directory_.path(name); }
    void configure(const std::string& toml) const { write("shunt.toml", toml); }
    void write(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
    std::string read(const std::string& name) const {
        std::ifstream file(path(name));
        return {std::istreambuf_iterator<char>(file), {}};
    }
    // A millisecond apart.
    void capture(const std::vector<Bytes>& packets, Duration apart = Duration::milliseconds(1)) const {
        auto writer = CaptureWriter::open(path("in.pcap"));
        ASSERT_TRUE(writer);
        Instant time{Duration::seconds(1'700'000'000).nanoseconds};
        for (const Bytes& bytes : packets) {
            writer->write(bytes, time);
            time = time + apart;
        }
        ASSERT_TRUE(writer->close());
    }
    std::vector<Bytes> packets_of(const std::string& name) const {
        std::vector<Bytes> packets;
        auto reader = CaptureReader::open(path(name));
        EXPECT_TRUE(reader);
        for (;;) {
            const auto packet = reader->next();
            EXPECT_TRUE(packet);
            if (!packet || !packet->has_value()) return packets;
            packets.emplace_back((*packet)->bytes.begin(), (*packet)->bytes.end());
        }
    }

    Outcome run(std::vector<std::pair<std::string, std::string>> more = {}, Output output = Output::json) const {
        const auto verb = std::ranges::find(all_verbs(), "replay", &Verb::words);
        EXPECT_NE(verb, all_verbs().end());
        Arguments arguments;
        arguments.add("CONFIG", path("shunt.toml"));
        arguments.add("IN.pcap", path("in.pcap"));
        for (const auto& [name, value] : more) arguments.add(name, value);
        std::ostringstream out, err;
        Session session{.output = output, .out = out, .err = err};
        const int code = verb->run(arguments, session);
        return {code, out.str(), err.str()};
    }

    test::TemporaryDirectory directory_{};
};

Bytes request(std::uint16_t port = 40000) {
    return packet("203.0.113.7:" + std::to_string(port), "198.18.0.10:443").build();
}

// Some of everything: both families, both services, replies, packets of nobody's, and damaged ones.
std::vector<Bytes> mixed(std::size_t count) {
    Random random(7);
    std::vector<Bytes> packets;
    while (packets.size() < count) {
        const std::string port = std::to_string(1024 + random.below(60'000));
        const std::array all{
            packet("203.0.113.7:" + port, "198.18.0.10:443"),
            packet("[2001:db8:cafe::7]:" + port, "[2001:db8::10]:443"),
            packet("203.0.113.8:" + port, "198.18.0.11:53", Protocol::udp),
            packet("198.18.2.11:8080", "203.0.113.7:" + port),
            packet("203.0.113.7:" + port, "198.18.0.10:22"),
        };
        test::Packet chosen = all[random.below(all.size())];
        if (random.below(8) == 0) chosen.hop_limit = 1;
        Bytes bytes = chosen.build();
        if (random.below(8) == 0) bytes.resize(random.below(bytes.size()));
        if (random.below(8) == 0 && !bytes.empty()) bytes[random.below(bytes.size())] ^= std::byte{0x10};
        packets.push_back(std::move(bytes));
    }
    return packets;
}

TEST_F(Replaying, ThousandMixedPacketsHaveThousandVerdictsAndTheSameAgain) {
    capture(mixed(1000));
    const auto once = run({{"--out", path("out.pcap")}, {"--punt", path("punt.pcap")}});
    const std::string out = read("out.pcap");
    const std::string punt = read("punt.pcap");
    const auto again = run({{"--out", path("out.pcap")}, {"--punt", path("punt.pcap")}});
    EXPECT_EQ(once.code, 0) << once.err;
    EXPECT_EQ(once.out, again.out);
    EXPECT_EQ(out, read("out.pcap"));
    EXPECT_EQ(punt, read("punt.pcap"));
    EXPECT_EQ(run({}, Output::table).out, run({}, Output::table).out);

    const json document = once.document();
    ASSERT_EQ(document["packets"].size(), 1000U);
    EXPECT_TRUE(document["error"].is_null());
    std::map<std::string, std::size_t> sums;
    std::set<std::size_t> places;
    for (std::size_t i = 0; i < 1000; ++i) {
        const json& p = document["packets"][i];
        EXPECT_EQ(p["n"], i + 1);
        ++sums[p["verdict"]];
        EXPECT_EQ(p["verdict"] == "dropped", !p["reason"].is_null());
        EXPECT_EQ(p["verdict"] == "forwarded", !p["out"].is_null());
        if (p["out"].is_null()) continue;
        EXPECT_TRUE(places.insert(p["out"].get<std::size_t>()).second);
    }
    EXPECT_EQ(document["received"], 1000);
    for (const char* verdict : {"forwarded", "punted", "dropped"}) {
        EXPECT_EQ(document[verdict], sums[verdict]);
        EXPECT_GT(sums[verdict], 50U);
    }
    EXPECT_EQ(packets_of("punt.pcap").size(), sums["punted"]);
    EXPECT_EQ(packets_of("out.pcap").size(), sums["forwarded"] + document["originated"].get<std::size_t>());
}

TEST_F(Replaying, SaysWhichServiceAndBackendAndWhere) {
    capture({request(), packet("203.0.113.7:1", "198.18.0.11:53", Protocol::udp).build(),
             packet("203.0.113.7:1", "198.18.0.99:80").build()});
    const json packets = run({{"--out", path("out.pcap")}, {"--punt", path("punt.pcap")}}).document()["packets"];
    EXPECT_EQ(packets[0]["verdict"], "forwarded");
    EXPECT_EQ(packets[0]["service"], "web");
    EXPECT_EQ(packets[0]["out"], 1);
    const auto sent = packets_of("out.pcap");
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(packets[0]["backend"], test::read(sent[0]).to());
    EXPECT_EQ(packets[1], (json{{"n", 2},
                                {"verdict", "dropped"},
                                {"reason", "no_backend"},
                                {"service", "idle"},
                                {"backend", nullptr},
                                {"out", nullptr}}));
    EXPECT_EQ(packets[2], (json{{"n", 3},
                                {"verdict", "punted"},
                                {"reason", nullptr},
                                {"service", nullptr},
                                {"backend", nullptr},
                                {"out", nullptr}}));
    EXPECT_EQ(packets_of("punt.pcap").size(), 1U);
    EXPECT_NE(run({}, Output::table).out.find("3 received: 1 forwarded, 1 punted, 1 dropped; 0 originated\n"),
              std::string::npos);
}

TEST_F(Replaying, BackendThatIsDownTakesNothing) {
    std::vector<Bytes> packets;
    for (std::uint16_t port = 1; port <= 50; ++port) packets.push_back(request(port));
    capture(packets);
    const auto backends = [this](std::vector<std::pair<std::string, std::string>> more) {
        std::set<std::string> found;
        const json document = run(std::move(more)).document();
        for (const json& p : document["packets"])
            found.insert(p["backend"].is_null() ? "" : p["backend"].get<std::string>());
        return found;
    };
    EXPECT_EQ(backends({}), (std::set<std::string>{"198.18.2.11:8080", "198.18.2.12:8080"}));
    EXPECT_EQ(backends({{"--down", "198.18.2.11"}}), std::set<std::string>{"198.18.2.12:8080"});
    EXPECT_EQ(backends({{"--down", "198.18.2.11"}, {"--down", "198.18.2.12"}}), std::set<std::string>{""});
}

constexpr const char* ports_with_addresses = R"(version = 1
[[dataplane.port]]
name = "lan0"
pcap = { in = "unused" }
mac = "02:00:00:00:00:02"
[[dataplane.port]]
name = "lan1"
pcap = { in = "unused" }
mac = "02:00:00:00:00:03"
[[next_hop]]
address = "198.18.1.1"
prefix = ["0.0.0.0/0"]
mac = "02:00:00:00:00:fe"
port = "lan1"
[[next_hop]]
address = "198.18.2.11"
mac = "02:00:00:00:0b:0b"
port = "lan0"
)";
constexpr const char* two_services_of_one_backend = R"(
[[service]]
name = "one"
vip = ["198.18.0.1:443/udp"]
[[service.backend]]
address = "198.18.2.11"
[[service]]
name = "two"
vip = ["198.18.0.2:443/udp"]
[[service.backend]]
address = "198.18.2.11"
)";

// Only a reply that belongs to a flow can go to the second service: without one it is derived for the first.
TEST_F(Replaying, TimeIsThatOfTheCapture) {
    configure(std::string(ports_with_addresses) + two_services_of_one_backend);
    const auto service_of_reply = [this](Duration after) {
        capture({packet("203.0.113.7:1", "198.18.0.2:443", Protocol::udp).build(),
                 packet("198.18.2.11:443", "203.0.113.7:1", Protocol::udp).build()},
                after);
        return run({{"--out", path("out.pcap")}}).document()["packets"][1]["service"];
    };
    EXPECT_EQ(service_of_reply(Duration::seconds(55)), "two");
    EXPECT_EQ(service_of_reply(Duration::seconds(65)), "one");
    auto reader = CaptureReader::open(path("out.pcap"));
    ASSERT_TRUE(reader);
    const Instant start{Duration::seconds(1'700'000'000).nanoseconds};
    EXPECT_EQ((*reader->next())->time, start);
    EXPECT_EQ((*reader->next())->time, start + Duration::seconds(65));
}

TEST_F(Replaying, DestinationAddressesOfFramesCountWherePortsHaveOne) {
    configure(std::string(ports_with_addresses) + two_services_of_one_backend);
    test::Packet first = packet("203.0.113.7:1", "198.18.0.1:443", Protocol::udp);
    test::Packet second = first;
    test::Packet strange = first;
    second.mac_destination.bytes[5] = 3;
    strange.mac_destination.bytes[5] = 4;
    capture({first.build(), second.build(), strange.build(), Bytes(3)});
    const json document = run({{"--punt", path("punt.pcap")}}).document();
    std::vector<std::string> verdicts;
    for (const json& p : document["packets"]) verdicts.push_back(p["verdict"]);
    EXPECT_EQ(verdicts, (std::vector<std::string>{"forwarded", "forwarded", "punted", "punted"}));
    EXPECT_EQ(packets_of("punt.pcap").size(), 2U);
}

TEST_F(Replaying, SourceOfFramesIsTheAddressOfThePortTheyLeaveBy) {
    configure(std::string(ports_with_addresses) + two_services_of_one_backend);
    capture({packet("203.0.113.7:1", "198.18.0.1:443", Protocol::udp).build(),
             packet("198.18.2.11:443", "203.0.113.7:1", Protocol::udp).build()});
    EXPECT_EQ(run({{"--out", path("out.pcap")}}).code, 0);
    const auto sent = packets_of("out.pcap");
    ASSERT_EQ(sent.size(), 2U);
    EXPECT_EQ(test::read(sent[0]).mac_source.text(), "02:00:00:00:00:02");
    EXPECT_EQ(test::read(sent[1]).mac_source.text(), "02:00:00:00:00:03");
}

// A fragment that waits gets its verdict when it leaves: with its first one, or when nothing more can come.
TEST_F(Replaying, FragmentsThatWaitAreJudgedInTheEnd) {
    test::Packet whole = packet("203.0.113.7:1", "198.18.0.1:443", Protocol::udp);
    whole.payload.assign(100, 'x');
    const auto one = test::fragments_of(whole.build(), 64, 1);
    const auto other = test::fragments_of(whole.build(), 64, 2);
    configure(std::string(ports_with_addresses) + two_services_of_one_backend);
    capture({one[1], other[1], one[0]}, Duration::milliseconds(300));
    const json document = run({{"--out", path("out.pcap")}}).document();
    const auto verdict = [&document](std::size_t n) { return document["packets"][n]["verdict"].get<std::string>(); };
    EXPECT_EQ(verdict(0), "forwarded");
    EXPECT_EQ(document["packets"][0]["out"], 2);
    EXPECT_EQ(document["packets"][0]["backend"], "198.18.2.11:0");
    EXPECT_EQ(document["packets"][1]["reason"], "fragment_waited");
    EXPECT_EQ(document["packets"][2]["out"], 1);
    EXPECT_EQ(document["received"], 3);

    capture({one[1], one[0]}, Duration::milliseconds(1500));
    EXPECT_EQ(run().document()["packets"][0]["reason"], "fragment_waited");
}

TEST_F(Replaying, AnswersAndPiecesAreOriginated) {
    configure(std::string(ports_with_addresses) + two_services_of_one_backend);
    test::Packet last_hop = packet("203.0.113.7:1", "198.18.0.1:443", Protocol::udp);
    last_hop.hop_limit = 1;
    test::Packet large = packet("203.0.113.7:1", "198.18.0.1:443", Protocol::udp);
    large.payload.assign(2000, 'x');
    capture({last_hop.build(), large.build(), request()});
    const json document = run({{"--out", path("out.pcap")}}).document();
    const json& packets = document["packets"];
    EXPECT_EQ(packets[0]["reason"], "hop_limit_exceeded");
    EXPECT_TRUE(packets[0]["out"].is_null());  // what left is the answer
    EXPECT_EQ(packets[1]["verdict"], "forwarded");
    EXPECT_EQ(packets[1]["out"], 2);
    EXPECT_EQ(packets[2]["verdict"], "punted");
    EXPECT_EQ(document["originated"], 2);
    EXPECT_EQ(packets_of("out.pcap").size(), 3U);
}

TEST_F(Replaying, ReadsPcapng) {
    const auto word = [](std::uint32_t n) { return std::string(reinterpret_cast<const char*>(&n), sizeof n); };
    const auto block = [&word](std::uint32_t type, std::string body) {
        body.resize((body.size() + 3) / 4 * 4);
        const auto length = word(static_cast<std::uint32_t>(body.size() + 12));
        return word(type) + length + body + length;
    };
    const Bytes bytes = request();
    const auto size = word(static_cast<std::uint32_t>(bytes.size()));
    const std::string frame(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    write("in.pcap", block(0x0a0d0d0a, word(0x1a2b3c4d) + word(1) + word(~0U) + word(~0U)) +
                         block(1, word(1) + word(65535)) + block(6, word(0) + word(0) + word(7) + size + size + frame));
    const auto outcome = run();
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.document()["forwarded"], 1);
}

TEST_F(Replaying, PacketLongerThanAnyBufferIsSegmented) {
    capture({Bytes(20'000)});
    EXPECT_EQ(run().document()["packets"][0]["reason"], "segmented");
}

// ---- what goes wrong: a sentence, and what was read before

TEST_F(Replaying, TruncatedFileKeepsWhatWasReadBefore) {
    capture({request(), request(2), request(3)});
    const std::string whole = read("in.pcap");
    for (const std::size_t missing : {1U, 30U}) {
        write("in.pcap", whole.substr(0, whole.size() - missing));
        const auto outcome = run({{"--out", path("out.pcap")}});
        EXPECT_EQ(outcome.code, 1);
        const json document = outcome.document();
        EXPECT_EQ(document["packets"].size(), 2U);
        EXPECT_EQ(document["forwarded"], 2);
        EXPECT_EQ(document["error"]["packet"], 3);
        EXPECT_NE(outcome.err.find(document["error"]["message"].get<std::string>()), std::string::npos);
        EXPECT_EQ(packets_of("out.pcap").size(), 2U);
        const auto text = run({}, Output::table);
        EXPECT_EQ(text.code, 1);
        EXPECT_NE(text.out.find("2 received"), std::string::npos);
    }
}

TEST_F(Replaying, PacketCutWhenItWasCapturedIsNotJudged) {
    capture({request(), request(2)});
    std::string file = read("in.pcap");
    const std::size_t second_header = 24 + 16 + request().size();
    file[second_header + 12] = static_cast<char>(file[second_header + 12] + 1);  // its length on the wire
    write("in.pcap", file);
    const auto outcome = run();
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.document()["packets"].size(), 1U);
    EXPECT_EQ(outcome.document()["error"]["packet"], 2);
    EXPECT_NE(outcome.err.find("were captured"), std::string::npos) << outcome.err;
}

TEST_F(Replaying, FileThatIsNoCaptureOfEthernetIsRefused) {
    capture({request()});
    std::string raw_ip = read("in.pcap");
    raw_ip[20] = 101;  // LINKTYPE_RAW
    const std::array<std::pair<std::string, std::string>, 4> files{{{"this is a letter, not a capture", "file"},
                                                                    {"", "truncated"},
                                                                    {raw_ip.substr(0, 20), "truncated"},
                                                                    {raw_ip, "not Ethernet"}}};
    for (const auto& [content, word] : files) {
        write("in.pcap", content);
        const auto outcome = run();
        EXPECT_EQ(outcome.code, 1);
        EXPECT_TRUE(outcome.document()["packets"].empty());
        EXPECT_TRUE(outcome.document()["error"]["packet"].is_null());
        EXPECT_NE(outcome.err.find(word), std::string::npos) << outcome.err;
    }
    std::filesystem::remove(path("in.pcap"));
    EXPECT_EQ(run().code, 1);
}

TEST_F(Replaying, EmptyCaptureIsNoError) {
    capture({});
    const auto outcome = run();
    EXPECT_EQ(outcome.code, 0);
    EXPECT_EQ(outcome.document()["received"], 0);
}

TEST_F(Replaying, SeedChoosesTheBackend) {
    std::vector<Bytes> packets;
    for (std::uint16_t port = 1; port <= 50; ++port) packets.push_back(request(port));
    capture(packets);
    const auto zeros = run();
    EXPECT_NE(zeros.err.find("seed of zeros"), std::string::npos);
    configure(std::string(two_services) + "[node]\nhash_seed_file = \"" + path("seed") + "\"\n");
    const auto absent = run();
    EXPECT_EQ(absent.code, 1);
    EXPECT_NE(absent.err.find(path("seed")), std::string::npos) << absent.err;
    write("seed", std::string(32, 's'));
    const auto named = run();
    EXPECT_EQ(named.code, 0) << named.err;
    EXPECT_EQ(named.err, "");
    EXPECT_NE(named.out, zeros.out);
}

TEST_F(Replaying, CommandsThatMakeNoSenseAreRefused) {
    capture({request()});
    EXPECT_EQ(run({{"--down", "web"}}).code, 2);
    EXPECT_EQ(run({{"--down", "198.18.2.99"}}).code, 1);
    const std::string before = read("in.pcap");
    EXPECT_EQ(run({{"--out", path("in.pcap")}}).code, 2);
    EXPECT_EQ(run({{"--out", path("./in.pcap")}}).code, 2);
    EXPECT_EQ(run({{"--out", path("out.pcap")}, {"--punt", path("out.pcap")}}).code, 2);
    EXPECT_EQ(read("in.pcap"), before);
    EXPECT_EQ(run({{"--out", path("no/such/directory.pcap")}}).code, 1);
    configure("version = 1\n");
    EXPECT_NE(run().err.find("no port"), std::string::npos);
    std::string without_next_hop(two_services);
    const std::size_t hop = without_next_hop.find("[[next_hop]]\naddress = \"198.18.2.12\"");
    without_next_hop.erase(hop, without_next_hop.find("[[next_hop]]", hop + 1) - hop);
    without_next_hop.replace(without_next_hop.find("0.0.0.0/0"), 9, "203.0.113.0/24");
    configure(without_next_hop);
    EXPECT_EQ(run().code, 1);
    EXPECT_NE(run().err.find("198.18.2.12"), std::string::npos) << run().err;
    configure("version = 1\n[[service]]\n");
    EXPECT_NE(run().err.find("shunt.toml:2"), std::string::npos);
}

}  // namespace
}  // namespace shunt::cli
