// Writes seeds: every golden packet and case, and what golden packets do not reach: floods, ports that refuse, tables
// that change. Run by `scripts/fuzz --seeds`; what is worth keeping of them is in tests/fuzz/corpus.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/fuzz/script.h"
#include "tests/fuzz/setups.h"

namespace shunt::test {
namespace {

class Seeds {
  public:
    explicit Seeds(const std::string& directory) : directory_(directory) {
        for (const char* harness : {"parse", "path", "flows"})
            std::filesystem::create_directories(directory_ / harness);
        for (const FuzzSetup& setup : fuzz_setups()) setups_.push_back(setup.name);
    }

    // Services are the same in most setups of golden packets.
    std::uint8_t setup(const std::string& name) const {
        const auto found = std::ranges::find(setups_, name);
        return found == setups_.end() ? 0 : static_cast<std::uint8_t>(found - setups_.begin());
    }
    void write(const std::string& harness, const std::vector<std::uint8_t>& bytes) {
        std::ofstream file(directory_ / harness / std::to_string(++count_), std::ios::binary);
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    void write(const ScriptWriter& script) { write("path", script.bytes()); }
    std::size_t count() const noexcept { return count_; }

  private:
    std::filesystem::path directory_;
    std::vector<std::string> setups_;
    std::size_t count_{};
};

void from_golden(Seeds& seeds) {
    for (const char* name : golden_files) {
        for (const GoldenCase& c : read_golden(name).cases) {
            ScriptWriter script(seeds.setup(c.setup));
            for (const GoldenStep& step : c.steps) {
                if (step.packet.empty()) {
                    script.wait(step.wait);
                    continue;
                }
                for (const std::uint8_t worker : {std::uint8_t{0}, on_second_worker})
                    script.packet(step.packet, worker);
                std::vector<std::uint8_t> bytes;
                for (const std::byte byte : step.packet) bytes.push_back(std::to_integer<std::uint8_t>(byte));
                seeds.write("parse", bytes);
            }
            seeds.write(script);
        }
    }
}

Bytes request(const std::string& from = "203.0.113.7:40000", std::uint8_t flags = tcp_ack) {
    Packet p = packet(from, "198.18.0.10:443");
    p.tcp_flags = flags;
    return p.build();
}
Bytes later_fragment() {
    Packet p = packet("203.0.113.7:40000", "198.18.0.10:443", Protocol::udp);
    p.fragment = 100;
    return p.build();
}

// More than there is room for.
void floods(Seeds& seeds) {
    ScriptWriter waiting(seeds.setup("plain"));
    for (const std::uint8_t worker : {std::uint8_t{0}, on_second_worker}) {
        waiting.packet(later_fragment(), worker);
        for (int i = 0; i < 5; ++i) waiting.again(255, worker | in_one_burst);
    }
    waiting.wait(Duration::seconds(2));
    seeds.write(waiting);

    // Unknown flows, burst after burst, until nothing is left of what may look aside.
    ScriptWriter aside(seeds.setup("plain"));
    for (int n = 1; n <= 17 * 32; ++n) {
        const std::string client = "203.0.113.7:" + std::to_string(40'000 + n);
        aside.packet(request(client), n % 32 == 0 ? 0 : in_one_burst);
    }
    seeds.write(aside);

    // More flows than the small table has room for, at once and after a while, of both widths.
    for (const char* time : {"at once", "later"}) {
        ScriptWriter flows(seeds.setup("plain"));
        for (int n = 1; n <= 120; ++n) {
            const std::string end = std::to_string(n % 3) + ":" + std::to_string(n);
            flows.packet(request("203.0.113." + end, n % 5 ? tcp_ack : tcp_syn), in_one_burst);
            flows.packet(
                packet("[2001:db8:cafe::" + end.substr(0, 1) + "]:" + std::to_string(n), "[2001:db8::10]:443").build());
            if (time[0] == 'l' && n % 30 == 0) flows.wait(Duration::seconds(2));
        }
        seeds.write(flows);
    }
}

void refusals(Seeds& seeds) {
    for (const char* setup : {"plain", "narrow"}) {
        for (const std::uint8_t refused : {no_punt, no_transmit, no_buffers}) {
            ScriptWriter script(seeds.setup(setup));
            Packet large = packet("203.0.113.7:40000", "198.18.0.10:443", Protocol::udp);
            large.payload.assign(1400, 'x');
            for (const Bytes& bytes : {request(), large.build(), packet("203.0.113.7:1", "198.18.0.10:22").build()}) {
                script.refuse(refused);
                script.packet(bytes);
            }
            seeds.write(script);
        }
    }
    ScriptWriter marks(seeds.setup("plain"));
    marks.packet(request(), is_segmented);
    marks.packet(request(), has_bad_checksum);
    marks.packet(Bytes(20'000));
    seeds.write(marks);
}

// Every change, with a flow before and after it, and fragments whose backend goes.
void changes(Seeds& seeds) {
    for (std::uint8_t what = 0; what < 8; ++what) {
        ScriptWriter script(seeds.setup("shared backends"));
        const auto traffic = [&script](std::uint8_t worker) {
            for (const std::uint8_t flags : {tcp_syn, tcp_ack, tcp_fin})
                script.packet(request("203.0.113.7:40000", flags), worker);
            script.packet(packet("203.0.113.7:40000", "198.18.0.10:443", Protocol::udp).build(), worker);
            for (const char* from : {"198.18.2.11:8080", "198.18.2.12:8080", "198.18.2.13:8081"}) {
                script.packet(packet(from, "203.0.113.7:40000").build(), worker);
                script.packet(packet(from, "198.18.7.7:40000").build(), worker);
            }
            script.packet(packet("198.18.7.7:40000", "198.18.0.10:443").build(), worker);
        };
        Packet first = packet("203.0.113.7:40000", "198.18.0.10:443", Protocol::udp);
        first.payload.assign(56, 'x');
        const auto pieces = fragments_of(first.build(), 32);
        traffic(0);
        script.packet(pieces[0]);
        for (std::uint8_t backend = 0; backend < 2; ++backend) script.change(0, backend, what);
        traffic(on_second_worker);
        script.packet(pieces[1]);
        script.wait(Duration::seconds(64));
        traffic(0);
        seeds.write(script);
    }
}

// Backends and clients that are neighbours: unknown, known, moved, forgotten.
void neighbours(Seeds& seeds) {
    ScriptWriter script(seeds.setup("shared backends"));
    for (const auto address : std::initializer_list<std::uint8_t>{0, 1, 2, 0}) {
        for (int which = 1; which < 20; which += 2) script.learn(static_cast<std::uint8_t>(which), address);
        for (const auto client : std::initializer_list<std::uint8_t>{200, 202, 204}) script.learn(client, address);
        for (const char* client : {"203.0.113.200:1", "203.0.113.201:1"}) {
            for (const char* vip : {"198.18.0.10:443", "198.18.0.20:443"}) script.packet(packet(client, vip).build());
            for (const char* backend : {"198.18.2.11:8080", "198.18.2.12:8080"})
                script.packet(packet(backend, client).build());
        }
    }
    seeds.write(script);
}

}  // namespace
}  // namespace shunt::test

int main(int argc, char** argv) {
    using namespace shunt::test;
    if (argc != 2) {
        std::cerr << "usage: fuzz_seeds DIRECTORY\n";
        return 2;
    }
    Seeds seeds(argv[1]);
    from_golden(seeds);
    floods(seeds);
    refusals(seeds);
    changes(seeds);
    neighbours(seeds);
    std::cout << seeds.count() << " seeds\n";
    return 0;
}
