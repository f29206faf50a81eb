// SPDX-License-Identifier: Apache-2.0
// The pure parts of the faults of disks and files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "agent/files/allowed_files.h"
#include "agent/files/config_edit.h"
#include "agent/files/file_gate.h"
#include "agent/files/open_plain_file.h"
#include "agent/files/replace_file.h"
#include "agent/files/space.h"
#include "tests/lib/process.h"

namespace firedrill::agent {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(EditTextTest, ReplacesEveryMatchAndKnowsGroups) {
  const auto edited =
      EditText("timeout = 30\nretries = 3\ntimeout = 5\n", "(timeout) = [0-9]+", "\\1 = 1");
  ASSERT_TRUE(edited.ok()) << edited.status();
  EXPECT_EQ(*edited, "timeout = 1\nretries = 3\ntimeout = 1\n");
  EXPECT_EQ(*EditText("a\nb\n", "(?m)^b\n", ""), "a\n");
}

TEST(EditTextTest, AppendsALineOfItsOwn) {
  EXPECT_EQ(*EditText("a = 1\n", "", "b = 2"), "a = 1\nb = 2\n");
  EXPECT_EQ(*EditText("a = 1", "", "b = 2\n"), "a = 1\nb = 2\n");
  EXPECT_EQ(*EditText("", "", "b"), "b\n");
}

TEST(EditTextTest, WhatChangesNothingIsAnError) {
  EXPECT_THAT(Message(EditText("a = 1\n", "b = .*", "b = 2").status()),
              HasSubstr("matches nothing"));
  EXPECT_THAT(Message(EditText("a = 1\n", "a = .*", "a = 1").status()), HasSubstr("already"));
  EXPECT_EQ(EditText("a", "(", "b").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(EditText("a", "a", "\\1").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(EditText(std::string(kLargestFile, 'x'), "", "more").status()),
              HasSubstr("are allowed"));
}

TEST(DecideAtEndTest, OnlyOurOwnWordsAreTakenBack) {
  const std::string original = "timeout = 30\nretries = 3\n";
  const std::string written = "timeout = 1\nretries = 3\n";
  EXPECT_EQ(DecideAtEnd(written, original, written), AtEnd::kRestore);
  EXPECT_EQ(DecideAtEnd(original, original, written), AtEnd::kPutRight);
  EXPECT_EQ(DecideAtEnd(std::nullopt, original, written), AtEnd::kLeave);
  EXPECT_EQ(DecideAtEnd("timeout = 45\nretries = 3\n", original, written), AtEnd::kLeave);
  EXPECT_EQ(DecideAtEnd("timeout = 1\nretries = 9\n", original, written), AtEnd::kOursRemains);
}

TEST(AllowedFilesTest, AStarStopsAtASlash) {
  EXPECT_TRUE(MatchesFilePattern("/etc/shop/*.conf", "/etc/shop/a.conf"));
  EXPECT_TRUE(MatchesFilePattern("/etc/*/*.conf", "/etc/shop/a.b.conf"));
  EXPECT_TRUE(MatchesFilePattern("/etc/shop/a.conf", "/etc/shop/a.conf"));
  EXPECT_FALSE(MatchesFilePattern("/etc/shop/*.conf", "/etc/shop/deep/a.conf"));
  EXPECT_FALSE(MatchesFilePattern("/etc/shop/*.conf", "/etc/shop/a.conf~"));
  EXPECT_FALSE(MatchesFilePattern("/etc/shop/*", "/etc/shop"));
  EXPECT_FALSE(MatchesFilePattern("/etc/*", "/etc/a/b"));
}

TEST(AllowedFilesTest, PatternsAreAbsoluteAndPlain) {
  EXPECT_TRUE(CheckFilePattern("/etc/shop/*.conf").ok());
  for (const char* bad : {"", "/", "etc/a", "/etc/../a", "/etc/./a", "/etc//a", "/etc/"}) {
    EXPECT_FALSE(CheckFilePattern(bad).ok()) << bad;
  }
}

TEST(AllowedFilesTest, NobodyIsLedToAnotherFile) {
  const test::TemporaryFolder folder;
  const std::string root = std::filesystem::canonical(folder.path());
  const std::string real = folder.Write("real.conf", "x");
  const std::string allowed = root + "/*.conf";
  EXPECT_TRUE(CheckFileAllowed({allowed}, root + "/real.conf").ok());
  ASSERT_EQ(symlink(real.c_str(), (root + "/link.conf").c_str()), 0);
  const absl::Status link = CheckFileAllowed({allowed}, root + "/link.conf");
  EXPECT_EQ(link.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Message(link), HasSubstr("--allow-file " + root + "/real.conf"));
  ASSERT_EQ(symlink(root.c_str(), (root + "/dir").c_str()), 0);
  EXPECT_FALSE(CheckFileAllowed({root + "/*/*.conf"}, root + "/dir/real.conf").ok());
  EXPECT_TRUE(absl::IsNotFound(CheckFileAllowed({allowed}, root + "/none.conf")));
  EXPECT_THAT(Message(CheckFileAllowed({}, root + "/real.conf")),
              HasSubstr("--allow-file " + root + "/real.conf"));
}

TEST(SpaceTest, TakesWhatIsMissingToTheShareAndLeavesTheFloor) {
  const Space space{.used = 30 * kMiB, .available = 70 * kMiB};
  EXPECT_EQ(*BytesToTake(space, 80.0, 0, 0), 50 * kMiB);
  EXPECT_EQ(*BytesToTake(space, 100.0, 0, 5 * kMiB), 65 * kMiB);
  EXPECT_EQ(*BytesToTake(space, std::nullopt, 10 * kMiB, 5 * kMiB), 10 * kMiB);
  EXPECT_EQ(*BytesToTake(space, std::nullopt, 900 * kMiB, 5 * kMiB), 65 * kMiB);
  EXPECT_THAT(Message(BytesToTake(space, 30.0, 0, 0).status()), HasSubstr("used already"));
  EXPECT_THAT(Message(BytesToTake(space, 80.0, 0, 70 * kMiB).status()), HasSubstr("floor"));
}

TEST(SpaceTest, GivesBackWhenOthersComeNearTheFloor) {
  EXPECT_EQ(MayHold({.used = 0, .available = 9 * kMiB}, 50 * kMiB, 50 * kMiB, 4 * kMiB), 50 * kMiB);
  EXPECT_EQ(MayHold({.used = 0, .available = 1 * kMiB}, 50 * kMiB, 50 * kMiB, 4 * kMiB), 47 * kMiB);
  EXPECT_EQ(MayHold({.used = 0, .available = 0}, 2 * kMiB, 50 * kMiB, 4 * kMiB), 0u);
  EXPECT_EQ(MayHold({.used = 0, .available = 6 * kMiB}, 47 * kMiB, 50 * kMiB, 4 * kMiB), 49 * kMiB);
}

TEST(FileImageTest, SurvivesTheJournalAndComesBackWithItsRights) {
  const test::TemporaryFolder folder;
  const std::string path = std::string(std::filesystem::canonical(folder.path())) + "/a.conf";
  folder.Write("a.conf", std::string("line\n\0bytes\xff", 12));
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  const auto image = ReadImage(path, kLargestFile);
  ASSERT_TRUE(image.ok()) << image.status();
  const auto back = ImageFrom(ToValues(*image));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->content, image->content);
  FileImage other = *back;
  other.content = "else\n";
  ASSERT_TRUE(WriteImage(path, other, ".temporary", /*keep_time=*/false).ok());
  EXPECT_EQ(test::ReadFile(path), "else\n");
  ASSERT_TRUE(WriteImage(path, *back, ".temporary", /*keep_time=*/true).ok());
  const auto restored = ReadImage(path, kLargestFile);
  ASSERT_TRUE(restored.ok());
  EXPECT_EQ(restored->content, image->content);
  EXPECT_EQ(restored->mode, 0640u);
  EXPECT_EQ(restored->modified.tv_nsec, image->modified.tv_nsec);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(path).parent_path() / ".temporary"));
}

TEST(FileImageTest, WhatSomebodyWroteMeanwhileIsNotWrittenOver) {
  const test::TemporaryFolder folder;
  const std::string root = std::filesystem::canonical(folder.path());
  folder.Write("a.conf", "a\n");
  auto image = ReadImage(root + "/a.conf", kLargestFile);
  ASSERT_TRUE(image.ok());
  image->content = "ours\n";
  const std::string original = "a\n";
  folder.Write("a.conf", "theirs\n");
  for (const bool several_names : {false, true}) {
    if (several_names) {
      ASSERT_EQ(link((root + "/a.conf").c_str(), (root + "/b.conf").c_str()), 0);
    }
    const absl::Status status = WriteImage(root + "/a.conf", *image, ".new", false, &original);
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_THAT(Message(status), HasSubstr("changed by somebody else in this moment"));
    EXPECT_EQ(test::ReadFile(root + "/a.conf"), "theirs\n");
  }
  EXPECT_FALSE(std::filesystem::exists(root + "/.new"));
  const std::string theirs = "theirs\n";
  EXPECT_TRUE(WriteImage(root + "/a.conf", *image, ".new", false, &theirs).ok());
  EXPECT_EQ(test::ReadFile(root + "/a.conf"), "ours\n");
}

TEST(PlainFileTest, OpensNothingButFilesAndFolders) {
  const test::TemporaryFolder folder;
  const std::string root = std::filesystem::canonical(folder.path());
  folder.Write("file", "text");
  ASSERT_EQ(mkfifo((root + "/fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink("/dev/null", root + "/link");
  for (const std::string& path : {root + "/file", root}) {
    const auto found = PlainFile::Find(path);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(found->Open().ok()) << path;
  }
  for (const std::string& path : {root + "/fifo", root + "/link", std::string("/dev/null")}) {
    const absl::Status status = PlainFile::Find(path).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << path << status;
    EXPECT_THAT(Message(status), HasSubstr("is neither a file nor a folder"));
  }
  EXPECT_TRUE(absl::IsNotFound(PlainFile::Find(root + "/none").status()));
}

TEST(FileImageTest, AFileWithSeveralNamesStaysOneFile) {
  const test::TemporaryFolder folder;
  const std::string root = std::filesystem::canonical(folder.path());
  folder.Write("a.conf", "a\n");
  ASSERT_EQ(link((root + "/a.conf").c_str(), (root + "/b.conf").c_str()), 0);
  auto image = ReadImage(root + "/a.conf", kLargestFile);
  ASSERT_TRUE(image.ok());
  image->content = "longer than before\n";
  ASSERT_TRUE(WriteImage(root + "/a.conf", *image, ".temporary", false).ok());
  EXPECT_EQ(test::ReadFile(root + "/b.conf"), "longer than before\n");
}

TEST(FileImageTest, OnlyPlainFilesOfSomeSize) {
  const test::TemporaryFolder folder;
  const std::string root = std::filesystem::canonical(folder.path());
  folder.Write("large", std::string(100, 'x'));
  EXPECT_THAT(Message(ReadImage(root + "/large", 99).status()), HasSubstr("larger"));
  EXPECT_THAT(Message(ReadImage(root, 99).status()), HasSubstr("no regular file"));
  EXPECT_TRUE(absl::IsNotFound(ReadImage(root + "/none", 99).status()));
}

TEST(FileGateTest, KnowsWhichErrorsFanotifyCanGive) {
  EXPECT_TRUE(FileGate::CanAnswer(EPERM));
  EXPECT_TRUE(FileGate::CanAnswer(ENOSPC));
  EXPECT_FALSE(FileGate::CanAnswer(EACCES));
}

}  // namespace
}  // namespace firedrill::agent
