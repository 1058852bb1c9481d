#include "core/check/cluster_claims.h"

#include <gtest/gtest.h>

#include "core/check/streams.h"

namespace ntfs::check {
namespace {

ClusterRun run(uint64_t lcn, uint64_t count) { return {Lcn(lcn), ClusterCount(count)}; }

CheckReport report_of(Findings& findings) {
  CheckReport report;
  findings.move_to(report);
  return report;
}

TEST(ClusterClaims, CountsEachClusterOnce) {
  Findings findings(10);
  ClusterClaims claims(uint64_t{1} << 34, findings);
  EXPECT_TRUE(claims.claim(run(0, 5), FileReference(1, 1)));
  EXPECT_TRUE(claims.claim(run((uint64_t{1} << 34) - 1, 1), FileReference(1, 1)));
  // Whole chunks take no memory of their own.
  EXPECT_TRUE(claims.claim(run(uint64_t{1} << 21, uint64_t{1} << 33), FileReference(2, 1)));
  EXPECT_FALSE(claims.claim(run(3, 4), FileReference(3, 1)));
  EXPECT_EQ(claims.count_claimed(), 5 + 1 + (uint64_t{1} << 33) + 2);
}

TEST(ClusterClaims, NamesBothOwners) {
  Findings findings(10);
  ClusterClaims claims(1000, findings);
  EXPECT_TRUE(claims.claim(run(100, 10), FileReference(30, 1)));
  EXPECT_TRUE(claims.claim(run(110, 10), FileReference(31, 1)));
  EXPECT_FALSE(claims.claim(run(115, 10), FileReference(32, 1)));
  claims.report_overlaps();
  const CheckReport report = report_of(findings);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.errors[0].file_reference, FileReference(32, 1).raw());
  EXPECT_NE(report.errors[0].found.find("record 31"), std::string::npos) << report.errors[0].found;
}

TEST(ClusterClaims, CountedClaimsAreHeldAgainstTheCounts) {
  using Sharing = ClusterClaims::Sharing;
  const auto findings_with = [](const std::vector<ondisk::ClusterReferences>& counts) {
    Findings findings(10);
    ClusterClaims claims(1000, findings);
    claims.claim(run(100, 10), FileReference(30, 1), Sharing::Counted);
    claims.claim(run(105, 10), FileReference(31, 1), Sharing::Counted);
    claims.claim(run(107, 1), FileReference(31, 1), Sharing::Counted);
    claims.compare_with(counts);
    return report_of(findings).errors;
  };
  EXPECT_TRUE(findings_with({{run(105, 2), 2}, {run(107, 1), 3}, {run(108, 2), 2}}).empty());
  EXPECT_EQ(findings_with({{run(105, 5), 2}}).size(), 1u);
  EXPECT_EQ(findings_with({}).size(), 3u);
  EXPECT_EQ(findings_with({{run(105, 2), 2}, {run(107, 1), 3}, {run(108, 3), 2}}).size(), 1u);
  EXPECT_EQ(
      findings_with({{run(50, 1), 2}, {run(105, 2), 2}, {run(107, 1), 3}, {run(108, 2), 2}}).size(),
      1u);
}

TEST(ClusterClaims, MetadataSharesNothing) {
  using Sharing = ClusterClaims::Sharing;
  for (const bool is_first : {true, false}) {
    Findings findings(10);
    ClusterClaims claims(1000, findings);
    if (is_first) claims.claim(run(109, 1), FileReference(6, 6), Sharing::None);
    claims.claim(run(100, 10), FileReference(30, 1), Sharing::Counted);
    if (!is_first) claims.claim(run(109, 1), FileReference(6, 6), Sharing::None);
    claims.compare_with(std::vector<ondisk::ClusterReferences>());
    EXPECT_EQ(findings.count(), 1u);
  }
}

TEST(ClusterClaims, AnUnclaimedOverlapOfAFileWithItselfIsFound) {
  Findings findings(10);
  ClusterClaims claims(1000, findings);
  EXPECT_TRUE(claims.claim(run(100, 10), FileReference(30, 1)));
  EXPECT_FALSE(claims.claim(run(109, 1), FileReference(30, 1)));
  claims.report_overlaps();
  EXPECT_EQ(findings.count(), 1u);
}

struct Pairs {
  std::vector<uint8_t> bytes;
  uint64_t next_vcn;
  bool good;
};

TEST(DecodeRuns, AcceptsOnlyWholePairsOnTheVolume) {
  const Pairs cases[] = {
      {{0x11, 4, 10, 0}, 4, true},
      {{0x11, 4, 10, 0x01, 6, 0x11, 2, 0xFE, 0}, 12, true},  // a run, a hole, a run two before
      {{0}, 0, true},
      {{}, 0, false},                           // no terminator
      {{0x11, 4, 10}, 4, false},                // no terminator
      {{0x11, 4, 10, 0}, 5, false},             // too short
      {{0x11, 4, 10, 0}, 3, false},             // too long
      {{0x11, 0, 10, 0}, 0, false},             // empty run
      {{0x11, 0x84, 10, 0}, 4, false},          // negative length
      {{0x11, 4, 0xF0, 0}, 4, false},           // negative lcn
      {{0x11, 4, 97, 0}, 4, false},             // past the end of the volume
      {{0x10, 10, 0}, 4, false},                // no length
      {{0x19, 4, 10, 0}, 4, false},             // nine bytes of length
      {{0x91, 4, 10, 0}, 4, false},             // nine bytes of distance
      {{0x18, 1, 0, 0, 0, 0, 0, 0}, 1, false},  // cut off
  };
  for (const Pairs& pairs : cases) {
    ByteVector bytes;
    for (const uint8_t value : pairs.bytes) bytes.push_back(static_cast<std::byte>(value));
    Attribute attribute;
    attribute.resident = false;
    attribute.next_vcn = pairs.next_vcn;
    attribute.mapping_pairs = bytes;
    std::vector<ntfs::Run> runs;
    std::string fault;
    EXPECT_EQ(decode_runs(attribute, 100, runs, fault), pairs.good) << fault;
    EXPECT_EQ(fault.empty(), pairs.good);
  }
}

}  // namespace
}  // namespace ntfs::check
