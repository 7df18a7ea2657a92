package iam

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

// document is a policy as IAM's replies have it: percent-encoded.
func document(text string) *string {
	return aws.String(strings.ReplaceAll(url.QueryEscape(text), "+", "%20"))
}

func (h *handlers) putUserPolicy(ctx context.Context, in *PutUserPolicyInput) (*PutUserPolicyOutput, error) {
	return &PutUserPolicyOutput{}, h.iam.PutUserPolicy(ctx, *in.UserName, *in.PolicyName, *in.PolicyDocument)
}

func (h *handlers) getUserPolicy(ctx context.Context, in *GetUserPolicyInput) (*GetUserPolicyOutput, error) {
	doc, err := h.iam.UserPolicy(ctx, *in.UserName, *in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: document(doc)}, nil
}

func (h *handlers) listUserPolicies(ctx context.Context, in *ListUserPoliciesInput) (*ListUserPoliciesOutput, error) {
	names, err := h.iam.UserPolicies(ctx, *in.UserName)
	if err != nil {
		return nil, err
	}
	out := &ListUserPoliciesOutput{}
	page := paged(func(s *string) string { return *s }, in.Marker, in.MaxItems, &out.Marker)
	if out.PolicyNames, err = page(names); err != nil {
		return nil, err
	}
	out.IsTruncated = out.Marker != nil
	return out, nil
}

func (h *handlers) deleteUserPolicy(ctx context.Context, in *DeleteUserPolicyInput) (*DeleteUserPolicyOutput, error) {
	return &DeleteUserPolicyOutput{}, h.iam.DeleteUserPolicy(ctx, *in.UserName, *in.PolicyName)
}

func fromPolicy(p *control.PolicyUse) *Policy {
	out := &Policy{
		PolicyName: &p.Name, PolicyId: &p.ID, Arn: aws.String(p.ARN()), Path: &p.Path, DefaultVersionId: aws.String(cache.PolicyVersion),
		AttachmentCount: aws.Int32(int32(p.Attachments)), PermissionsBoundaryUsageCount: aws.Int32(0), IsAttachable: aws.Bool(true),
		CreateDate: &p.CreatedAt, UpdateDate: &p.CreatedAt, Tags: fromTags(p.Tags),
	}
	if p.Description != "" {
		out.Description = &p.Description
	}
	return out
}

func (h *handlers) createPolicy(ctx context.Context, in *CreatePolicyInput) (*CreatePolicyOutput, error) {
	p, err := h.iam.CreatePolicy(ctx, cache.ManagedPolicy{
		Name: *in.PolicyName, Path: aws.ToString(in.Path), Description: aws.ToString(in.Description), Document: *in.PolicyDocument, Tags: toTags(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	return &CreatePolicyOutput{Policy: fromPolicy(&control.PolicyUse{ManagedPolicy: *p})}, nil
}

func (h *handlers) getPolicy(ctx context.Context, in *GetPolicyInput) (*GetPolicyOutput, error) {
	p, err := h.iam.Policy(ctx, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	return &GetPolicyOutput{Policy: fromPolicy(p)}, nil
}

func fromVersion(p *control.PolicyUse) *PolicyVersion {
	return &PolicyVersion{VersionId: aws.String(cache.PolicyVersion), IsDefaultVersion: aws.Bool(true), CreateDate: &p.CreatedAt}
}

func (h *handlers) getPolicyVersion(ctx context.Context, in *GetPolicyVersionInput) (*GetPolicyVersionOutput, error) {
	p, err := h.iam.Policy(ctx, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	if *in.VersionId != cache.PolicyVersion {
		return nil, cache.Faultf("NoSuchEntity", "Policy %s version %.50s does not exist or is not attachable.", *in.PolicyArn, *in.VersionId)
	}
	v := fromVersion(p)
	v.Document = document(p.Document)
	return &GetPolicyVersionOutput{PolicyVersion: v}, nil
}

func (h *handlers) listPolicyVersions(ctx context.Context, in *ListPolicyVersionsInput) (*ListPolicyVersionsOutput, error) {
	p, err := h.iam.Policy(ctx, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	return &ListPolicyVersionsOutput{Versions: []PolicyVersion{*fromVersion(p)}}, nil
}

// listPolicies shows the installation's own policies: there are none of AWS.
func (h *handlers) listPolicies(ctx context.Context, in *ListPoliciesInput) (*ListPoliciesOutput, error) {
	out := &ListPoliciesOutput{}
	if in.Scope == "AWS" || in.PolicyUsageFilter == "PermissionsBoundary" {
		return out, nil
	}
	keep := func(p *control.PolicyUse) bool {
		return strings.HasPrefix(p.Path, aws.ToString(in.PathPrefix)) && (p.Attachments > 0 || !aws.ToBool(in.OnlyAttached))
	}
	page := paged(func(p *control.PolicyUse) string { return p.Key() }, in.Marker, in.MaxItems, &out.Marker)
	all, err := h.iam.Policies(ctx, keep, page)
	if err != nil {
		return nil, err
	}
	for i := range all {
		p := fromPolicy(&all[i])
		p.Tags, p.Description = nil, nil // lists do not show them
		out.Policies = append(out.Policies, *p)
	}
	out.IsTruncated = out.Marker != nil
	return out, nil
}

func (h *handlers) deletePolicy(ctx context.Context, in *DeletePolicyInput) (*DeletePolicyOutput, error) {
	return &DeletePolicyOutput{}, h.iam.DeletePolicy(ctx, *in.PolicyArn)
}

func (h *handlers) attachUserPolicy(ctx context.Context, in *AttachUserPolicyInput) (*AttachUserPolicyOutput, error) {
	return &AttachUserPolicyOutput{}, h.iam.AttachUserPolicy(ctx, *in.UserName, *in.PolicyArn)
}

func (h *handlers) detachUserPolicy(ctx context.Context, in *DetachUserPolicyInput) (*DetachUserPolicyOutput, error) {
	return &DetachUserPolicyOutput{}, h.iam.DetachUserPolicy(ctx, *in.UserName, *in.PolicyArn)
}

func (h *handlers) listAttachedUserPolicies(ctx context.Context, in *ListAttachedUserPoliciesInput) (*ListAttachedUserPoliciesOutput, error) {
	all, err := h.iam.AttachedPolicies(ctx, *in.UserName, aws.ToString(in.PathPrefix))
	if err != nil {
		return nil, err
	}
	out := &ListAttachedUserPoliciesOutput{}
	page := paged((*cache.ManagedPolicy).Key, in.Marker, in.MaxItems, &out.Marker)
	if all, err = page(all); err != nil {
		return nil, err
	}
	for i := range all {
		out.AttachedPolicies = append(out.AttachedPolicies, AttachedPolicy{PolicyName: &all[i].Name, PolicyArn: aws.String(all[i].ARN())})
	}
	out.IsTruncated = out.Marker != nil
	return out, nil
}
