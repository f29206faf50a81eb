// SPDX-License-Identifier: Apache-2.0
// Cgroups of both versions, on a /proc and a tree that the test has written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "agent/host/cgroups.h"
#include "agent/host/host.h"
#include "tests/lib/process.h"

namespace firedrill::agent {
namespace {

using testing::HasSubstr;

class CgroupsTest : public testing::Test {
 protected:
  CgroupsTest() : host_({folder_.path() + "/proc", folder_.path() + "/sys"}) {}

  void Write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(
        std::filesystem::path(folder_.path() + "/" + name).parent_path());
    folder_.Write(name, text);
  }
  void MountV1(const std::string& root = "/") {
    Write("proc/self/mountinfo",
          "30 1 0:26 / " + folder_.path() + "/unified rw - cgroup2 cgroup2 rw\n" + "31 1 0:27 " +
              root + " " + folder_.path() + "/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" +
              "32 1 0:28 / " + folder_.path() + "/memory rw shared:9 - cgroup cgroup rw,memory\n");
  }
  void MountV2() {
    Write("proc/self/mountinfo",
          "30 1 0:26 / " + folder_.path() + "/v2 rw - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  std::string In(const std::string& name) const { return folder_.path() + "/" + name; }

  test::TemporaryFolder folder_;
  const Host host_;
};

TEST_F(CgroupsTest, FindsACgroupInTheHierarchyOfItsController) {
  MountV1();
  Write("cpu/shop/web/cgroup.procs", "");
  const auto cpu = FindCgroup(host_, "cpu", "/shop/web");
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  EXPECT_EQ(cpu->folder, In("cpu/shop/web"));
  EXPECT_FALSE(cpu->v2);
  // As people write it.
  EXPECT_EQ(FindCgroup(host_, "cpuacct", "shop/web/")->folder, In("cpu/shop/web"));
  EXPECT_EQ(FoldersUpwards(*cpu),
            (std::vector<std::string>{In("cpu/shop/web"), In("cpu/shop"), In("cpu")}));
  const auto memory = FindCgroup(host_, "memory", "/shop/web");
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(memory.status().message()),
              HasSubstr("no cgroup /shop/web in the v1 hierarchy of memory"));
  // A controller without a hierarchy of its own is v2's.
  Write("unified/shop/cgroup.procs", "");
  EXPECT_TRUE(FindCgroup(host_, "pids", "/shop")->v2);
}

TEST_F(CgroupsTest, APathNeverLeavesTheTree) {
  MountV2();
  Write("cgroup.procs", "");
  EXPECT_EQ(FindCgroup(host_, "cpu", "/../..").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindCgroup(host_, "cpu", "..").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(CgroupsTest, APartOfTheTreeIsSeenUnderTheTreesNames) {
  MountV1("/docker/1a2b");
  Write("cpu/shop/cgroup.procs", "");
  EXPECT_EQ(FindCgroup(host_, "cpu", "/docker/1a2b/shop")->folder, In("cpu/shop"));
}

TEST_F(CgroupsTest, WithoutAnyHierarchyItSaysSo) {
  Write("proc/self/mountinfo", "20 1 0:20 / / rw - ext4 /dev/sda1 rw\n");
  EXPECT_EQ(FindCgroup(host_, "cpu", "/a").status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(CgroupsTest, FindsTheCgroupOfAProcess) {
  MountV1();
  Write("proc/7/cgroup", "4:memory:/box\n2:cpu,cpuacct:/shop\n0::/unified\n");
  Write("cpu/shop/cgroup.procs", "7\n");
  Write("memory/box/cgroup.procs", "7\n");
  EXPECT_EQ(CgroupOf(host_, "cpu", 7)->path, "/shop");
  EXPECT_EQ(CgroupOf(host_, "memory", 7)->path, "/box");
}

TEST_F(CgroupsTest, TheTightestLimitUpwardsHoldsAndCachesAreFree) {
  MountV2();
  Write("v2/cgroup.procs", "");
  Write("v2/shop/cgroup.procs", "");
  Write("v2/shop/memory.max", "1000000\n");
  Write("v2/shop/memory.current", "900000\n");
  Write("v2/shop/memory.stat", "anon 600000\ninactive_file 200000\nactive_file 100000\n");
  Write("v2/shop/web/cgroup.procs", "");
  Write("v2/shop/web/memory.max", "max\n");
  const auto web = FindCgroup(host_, "memory", "/shop/web");
  ASSERT_TRUE(web.ok()) << web.status();
  const auto room = MemoryRoom(*web);
  ASSERT_TRUE(room.ok() && room->has_value()) << room.status();
  EXPECT_EQ((*room)->limit, 1000000u);
  EXPECT_EQ((*room)->room, 400000u);
  EXPECT_EQ((*room)->folder, In("v2/shop"));
  // A tighter one below it; used up and more.
  Write("v2/shop/web/memory.max", "50000\n");
  Write("v2/shop/web/memory.current", "60000\n");
  Write("v2/shop/web/memory.stat", "inactive_file 0\n");
  EXPECT_EQ((*MemoryRoom(*web))->room, 0u);
}

TEST_F(CgroupsTest, VersionOneSpellsNoLimitAsALargeNumber) {
  MountV1();
  Write("memory/cgroup.procs", "");
  Write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("memory/memory.usage_in_bytes", "5\n");
  Write("memory/box/cgroup.procs", "");
  Write("memory/box/memory.limit_in_bytes", "9223372036854771712\n");
  const auto box = FindCgroup(host_, "memory", "/box");
  ASSERT_TRUE(box.ok()) << box.status();
  EXPECT_FALSE(MemoryRoom(*box)->has_value());
  Write("memory/box/memory.limit_in_bytes", "100\n");
  Write("memory/box/memory.usage_in_bytes", "90\n");
  Write("memory/box/memory.stat", "inactive_file 1\ntotal_inactive_file 20\n");
  EXPECT_EQ((*MemoryRoom(*box))->room, 30u);
}

TEST_F(CgroupsTest, PidsOfEachLevelCount) {
  MountV2();
  Write("v2/shop/cgroup.procs", "");
  Write("v2/shop/pids.max", "100\n");
  Write("v2/shop/pids.current", "98\n");
  Write("v2/shop/web/cgroup.procs", "");
  Write("v2/shop/web/pids.max", "50\n");
  Write("v2/shop/web/pids.current", "10\n");
  const auto room = PidsRoom(*FindCgroup(host_, "pids", "/shop/web"));
  ASSERT_TRUE(room.ok() && room->has_value());
  EXPECT_EQ((*room)->room, 2u);
  EXPECT_EQ((*room)->limit, 100u);
}

}  // namespace
}  // namespace firedrill::agent
